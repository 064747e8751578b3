import { Effect, type FileSystem, Layer, type Path, Queue, Stream } from "effect"
import type { ChildProcessSpawner } from "effect/process/ChildProcessSpawner"
import type { Mpk } from "../pack/Mpk.ts"
import type { CompileRequest } from "../plan/Request.ts"
import type { Kernels } from "../quantize/Kernels.ts"
import type { Target } from "../target/Target.ts"
import type { BuildReport } from "./BuildReport.ts"
import { type CompileError, Compiler } from "./Compiler.ts"
import { Progress, type ProgressEvent } from "./Progress.ts"
import type { Verifier } from "./Verifier.ts"

/** What a build tells while it runs; `Finished` is the last. */
export type CompileEvent = ProgressEvent | { readonly _tag: "Finished"; readonly report: BuildReport }

/**
 * Builds, and tells how far it is. The stream begins with `Planned` and ends with `Finished`, or fails as `Compiler.compile`
 * does, after all that happened before; when nobody listens any more the build is interrupted, and `resume` goes on from there.
 *
 * ```ts
 * compileStream(request).pipe(
 *   Stream.runForEach((event) => event._tag === "Finished" ? Console.log(event.report.output) : Effect.void),
 *   Effect.provide(Layer.merge(servicesFor(request), NodeServices.layer))
 * )
 * ```
 */
export const compileStream = (
  request: CompileRequest
): Stream.Stream<
  CompileEvent,
  CompileError,
  FileSystem.FileSystem | Path.Path | ChildProcessSpawner | Target | Kernels | Mpk | Verifier
> =>
  Stream.callback<
    CompileEvent,
    CompileError,
    FileSystem.FileSystem | Path.Path | ChildProcessSpawner | Target | Kernels | Mpk | Verifier
  >((queue) =>
    Effect.gen(function*() {
      const report = yield* (yield* Compiler).compile(request)
      yield* Queue.offer(queue, { _tag: "Finished", report })
      yield* Queue.end(queue)
    }).pipe(
      Effect.provide(Layer.provide(Compiler.layer, Progress.layer((event) => Queue.offer(queue, event))))
    )
  )
