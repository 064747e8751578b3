import { Effect, Layer } from "effect"
import { Mpk } from "../pack/Mpk.ts"
import type { CompileRequest } from "../plan/Request.ts"
import { Kernels } from "../quantize/Kernels.ts"
import { hostLayer } from "../target/host.ts"
import { MockTarget } from "../target/mock.ts"
import { Target } from "../target/Target.ts"
import { Compiler } from "./Compiler.ts"
import { NotSupported } from "./StageError.ts"
import { Verifier } from "./Verifier.ts"

const modalixLayer: Layer.Layer<Target, NotSupported> = Layer.effect(
  Target,
  Effect.fail(
    new NotSupported({
      what: "--target modalix",
      advice: "the bridge to the vendor's SDK is not built yet; use --target host"
    })
  )
)

const targets: Readonly<Record<CompileRequest["target"], Layer.Layer<Target, NotSupported>>> = {
  host: hostLayer,
  modalix: modalixLayer,
  mock: MockTarget.layer()
}

/**
 * What the stages ask of others, as the request names it: the target, the workers (started by the first that needs one), the
 * archives, the comparison. To replace one, merge a layer of the same service after it: `Layer.merge(servicesFor(request), MyTarget)`.
 */
export const servicesFor = (request: CompileRequest): Layer.Layer<Target | Kernels | Mpk | Verifier, NotSupported> =>
  Layer.mergeAll(targets[request.target], Kernels.layer(request.jobs), Mpk.layer, Verifier.layer)

/** The compiler with the services that the request names; needs a platform and a `Progress`. */
export const compilerFor = (request: CompileRequest) => Layer.provide(Compiler.layer, servicesFor(request))
