import { Effect, FileSystem } from "effect"
import { check } from "../onnx/Check.ts"
import type { Graph } from "../onnx/Graph.ts"
import { decode, encode } from "../onnx/OnnxFile.ts"
import { type Blob, blobFor, blobsOf } from "../plan/Blobs.ts"
import type { Job } from "../plan/Job.ts"
import { programName } from "../plan/Parts.ts"
import { type Chosen, compiledOf, paths, type Plan, type Step } from "../plan/Plan.ts"
import { Kernels } from "../quantize/Kernels.ts"
import { quantizeGraph } from "../quantize/Quantizer.ts"
import { guard } from "../quantize/WeightFacts.ts"
import type { Tensor } from "../tensor/Tensor.ts"
import { linkWeights } from "./Links.ts"
import type { Stage } from "./Stage.ts"
import { InputMissing } from "./StageError.ts"
import { Workspace } from "./Workspace.ts"

/** The float graph that the ONNX stage wrote. */
const readGraph = Effect.fnUntraced(function*(step: string, path: string) {
  const workspace = yield* Workspace
  const fs = yield* FileSystem.FileSystem
  const file = yield* workspace.at(path)
  const missing = () => new InputMissing({ step, input: file, stage: "ONNX", flag: "--onnx" })
  const bytes = yield* Effect.mapError(fs.readFile(file), missing)
  return yield* Effect.mapError(Effect.fromResult(decode(bytes)), missing)
})

const mebibytes = (bytes: number): string => (bytes / 2 ** 20).toFixed(2)

const writeBlob = Effect.fn("quantize.writeBlob")(function*(job: Job, blob: Blob) {
  const workspace = yield* Workspace
  const kernels = yield* Kernels
  const path = paths.quantizedBlob(blob)
  yield* workspace.allocate(
    path,
    blob.layout.length,
    Effect.fnUntraced(function*(file) {
      yield* Effect.forEach(blob.layout.weights, ({ bits, codes, name, scales }) => {
        const source = job.weights(name)
        const destination = { file, codes: codes.offset, scales: scales.offset }
        return kernels.quantize({ source, bits, destination }).pipe(
          Effect.flatMap((facts) => Effect.fromResult(guard(source, facts))),
          Effect.tap(() =>
            Effect.logInfo(
              `${name}, [${source.shape.join(" × ")}], ${source.dtype} → int${bits}, ${
                mebibytes(source.range.length)
              } → ${mebibytes(codes.length + scales.length)} MiB`
            )
          )
        )
      }, { concurrency: "unbounded" })
      yield* Effect.forEach(
        blob.layout.zeros,
        ({ byte, length, offset }) => kernels.fill({ byte, length, to: { file, offset } })
      )
    })
  )
  return { path }
})

/** Weights that the programs keep as they are: looked at for NaN and infinity. */
const keptWeights = (job: Job, graphs: ReadonlyArray<Graph>): ReadonlyArray<Tensor> => {
  const known = new Set(job.model.tensors.map(({ name }) => name))
  const names = graphs.flatMap(({ initializers }) => initializers.map(({ name }) => name))
  return [...new Set(names)].filter((name) => known.has(name)).map(job.weights)
}

const run = Effect.fn("quantize.run")(function*({ id, layer }: Step, { job }: Plan) {
  if (layer === undefined) return yield* linkWeights(job, paths.quantized, paths.onnx)
  const workspace = yield* Workspace
  const kernels = yield* Kernels
  const blobs = blobsOf(job, layer)
  const rewritten = yield* Effect.forEach(
    compiledOf(job, layer),
    ({ program }: Chosen) =>
      Effect.map(readGraph(id, paths.onnxGraph(program)), (graph) => {
        const blob = blobFor(blobs, program)
        return {
          program,
          graph: blob === undefined
            ? graph
            : quantizeGraph(graph, { location: `weights/${blob.name}`, layout: blob.layout })
        }
      })
  )
  yield* Effect.forEach(
    keptWeights(job, rewritten.map(({ graph }) => graph)),
    (tensor) => Effect.flatMap(kernels.scan(tensor), (facts) => Effect.fromResult(guard(tensor, facts))),
    { concurrency: "unbounded" }
  )
  const written = yield* Effect.forEach(blobs, (blob) => writeBlob(job, blob), { concurrency: "unbounded" })
  const graphs = yield* Effect.forEach(rewritten, ({ graph, program }) => {
    const [problem] = check(graph)
    if (problem !== undefined) return Effect.die(new Error(`${programName(program)}: ${JSON.stringify(problem)}`))
    const path = paths.quantizedGraph(program)
    return Effect.as(workspace.write(path, encode(graph)), { path })
  }, { concurrency: "unbounded" })
  return { outputs: [...written, ...graphs] }
})

/** QUANTIZE: weights become codes in one blob per part and scheme; graphs read them through DequantizeLinear. */
export const quantize = { name: "QUANTIZE", flag: "quantize", run } as const satisfies Stage<unknown, unknown>
