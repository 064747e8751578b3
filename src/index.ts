/**
 * The library behind the programs, in the order of the data: what is asked, what is read, what will be done, who does it, what
 * comes out, how it runs, how it fails. `llima-compile/testing` has the target, checkpoints and clock for tests.
 *
 * ```ts
 * import { NodeRuntime, NodeServices } from "@effect/platform-node"
 * import { Console, Effect, Layer } from "effect"
 * import { Compiler, compilerFor, CompileRequest, Progress } from "llima-compile"
 *
 * const request = CompileRequest.make({ modelPath: "./SmolLM2", output: "./out", jobs: 2 })
 * const build = Effect.gen(function*() {
 *   const report = yield* (yield* Compiler).compile(request)
 *   yield* Console.log(`${report.archives} archives in ${report.output}`)
 * })
 * const Show = Progress.layer((event) => Console.error(event._tag))
 * NodeRuntime.runMain(Effect.provide(build, Layer.provide(compilerFor(request), [Show, NodeServices.layer])))
 * ```
 *
 * Or as a stream, with a target of one's own in place of the request's:
 *
 * ```ts
 * compileStream(request).pipe(
 *   Stream.runForEach((event) => Console.log(event._tag)),
 *   Effect.provide(Layer.mergeAll(servicesFor(request), MyTarget, NodeServices.layer))
 * )
 * ```
 */
import { open as openRunner } from "./run/Runner.ts"
import { type Checkpoint as OpenedCheckpoint, open as openCheckpoint } from "./source/Checkpoint.ts"
import { type Provenance as BuildProvenance, readProvenance, requestOf } from "./stage/Provenance.ts"

// what is asked
export { CompileRequest, defaults, Lora, ranges, type StageFlag, stageFlags } from "./plan/Request.ts"

// what is read
/** A model on disk. `Checkpoint.open(folder)` reads its configuration and the headers of its weights, no more. */
export const Checkpoint = { open: openCheckpoint } as const
export type Checkpoint = OpenedCheckpoint
export type { Model, ModelFacts } from "./arch/Architecture.ts"
export type { DType } from "./tensor/DType.ts"
export type { ByteRange, Tensor } from "./tensor/Tensor.ts"

// what will be done
export type { Job } from "./plan/Job.ts"
export { type Part, type Program, programName } from "./plan/Parts.ts"
export type { Plan, StageName, Step } from "./plan/Plan.ts"
export { type Choice, type Precision, precisions, type PrecisionTable } from "./plan/Precision.ts"

// who does it: services that a layer replaces
export type { Attribute, Dim, Graph, Initializer, Node, Value } from "./onnx/Graph.ts"
export { decode as decodeOnnx, encode as encodeOnnx } from "./onnx/OnnxFile.ts"
export type { Entry } from "./pack/Entry.ts"
export { type Compression, Mpk, type Written } from "./pack/Mpk.ts"
export { Kernels, type Quantization } from "./quantize/Kernels.ts"
export type { WeightFacts } from "./quantize/WeightFacts.ts"
export { type CompileError, Compiler, type PlanError } from "./stage/Compiler.ts"
export { type CompileEvent, compileStream } from "./stage/CompileStream.ts"
export type { Outlook } from "./stage/Outlook.ts"
export { Progress, type ProgressEvent, type ProgressStage } from "./stage/Progress.ts"
export { compilerFor, servicesFor } from "./stage/Services.ts"
export { builtJob } from "./stage/verification/BuiltJob.ts"
export { checkFiles, checkSource } from "./stage/verification/Unchanged.ts"
export { Verifier, type VerifyError, type VerifyOptions } from "./stage/Verifier.ts"
export { hostLayer } from "./target/host.ts"
export { type CompiledPart, type QuantizedPart, Target, type TargetFacts } from "./target/Target.ts"

// what comes out
export type { BuildReport, PrecisionReport, StepReport } from "./stage/BuildReport.ts"
export { type Divergence, type TensorCheck, Verification } from "./verify/Verification.ts"

/** `build.json`: of what a build was made, by what, and what came out. `Provenance.read(output)` reads it, `requestOf` gives its request. */
export const Provenance = { read: readProvenance, requestOf } as const
export type Provenance = BuildProvenance

// how it runs
/** A build that is loaded and ready. `Runner.open(output)` loads it; its scope ends it. */
export const Runner = { open: openRunner } as const
export type { Event as GenerateEvent, Request as GenerateRequest, Timings } from "./run/Generator.ts"
export type { Runner as OpenRunner, RunnerOptions } from "./run/Runner.ts"
export { greedy, type Sampling } from "./run/Sampler.ts"
export type { Message } from "./run/Tokenizer.ts"

// how it fails: each has a text for people and `[Runtime.errorExitCode]`
export { DevkitError } from "./devkit/DevkitError.ts"
export { PackError } from "./pack/PackError.ts"
export { PrecisionError } from "./plan/PrecisionError.ts"
export { KernelError } from "./quantize/KernelError.ts"
export { RunError } from "./run/RunError.ts"
export { SourceError } from "./source/SourceError.ts"
export { StepsFailed } from "./stage/Pipeline.ts"
export { ProvenanceError } from "./stage/ProvenanceError.ts"
export { InputMissing, NotSupported, OtherSource, OutOfBudget, SharingNeeded } from "./stage/StageError.ts"
export { WorkspaceError } from "./stage/WorkspaceError.ts"
export { TargetError } from "./target/Target.ts"
export { FilesChanged, OutputBroken, ReferenceBroken, VerificationFailed } from "./verify/VerificationFailed.ts"
