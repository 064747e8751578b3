import { Context, Effect, type FileSystem, Layer, type Path } from "effect"
import type { Job } from "../plan/Job.ts"
import type { KernelError } from "../quantize/KernelError.ts"
import type { Kernels } from "../quantize/Kernels.ts"
import type { RunError } from "../run/RunError.ts"
import type { RuntimeError } from "../verify/RuntimeError.ts"
import type { Verification } from "../verify/Verification.ts"
import type { OutputBroken, ReferenceBroken, VerificationFailed } from "../verify/VerificationFailed.ts"
import type { WorkspaceError } from "./WorkspaceError.ts"

/** What is verified. */
export interface VerifyOptions {
  readonly mode: "quick" | "full"
  /** the build's output folder */
  readonly output: string
  /** called after each layer */
  readonly advance?: (layer: number) => Effect.Effect<void>
  /** 1: float32 sums in products with codes; 4 (default): as a build runs */
  readonly accuracy?: 1 | 4
}

/** Every way in which verifying fails: the build misses, or the comparison cannot be made. */
export type VerifyError =
  | VerificationFailed
  | OutputBroken
  | ReferenceBroken
  | RunError
  | RuntimeError
  | KernelError
  | WorkspaceError

/** Compares builds with their float model, part by part, on activations of a built-in text. */
export class Verifier extends Context.Service<Verifier, {
  /**
   * Of a build that passes, all figures; fails with those that miss their thresholds. Holds two layers at a time, whatever the
   * model's size. Needs what every stage needs, so that the service itself is a value.
   */
  readonly verify: (
    job: Job,
    options: VerifyOptions
  ) => Effect.Effect<Verification, VerifyError, FileSystem.FileSystem | Path.Path | Kernels>
}>()("llima/stage/Verifier") {
  /** The float model and the programs each run in a thread of onnxruntime; loaded by the first call. */
  static readonly layer: Layer.Layer<Verifier> = Layer.succeed(
    Verifier,
    Verifier.of({
      verify: Effect.fn("Verifier.verify")(function*(job, options) {
        const { compareBuild } = yield* Effect.promise(() => import("./verification/Comparison.ts"))
        return yield* compareBuild(job, options)
      })
    })
  )
}
