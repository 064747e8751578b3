import { Layer } from "effect"
import { Mpk } from "../pack/Mpk.ts"
import type { CompileRequest } from "../plan/Request.ts"
import { Kernels } from "../quantize/Kernels.ts"
import { hostLayer } from "../target/host.ts"
import { mockLayer } from "../target/mock.ts"
import { Compiler } from "./Compiler.ts"

const targets = { host: hostLayer, mock: mockLayer } as const

/** The compiler with the target and the number of workers that the request names; needs a platform and a `Progress`. */
export const compilerFor = (request: CompileRequest) =>
  Compiler.layer.pipe(
    Layer.provide([request.target === "mock" ? targets.mock : targets.host, Kernels.layer(request.jobs), Mpk.layer])
  )
