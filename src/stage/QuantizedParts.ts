import { Effect, FileSystem, LogLevel } from "effect"
import { check } from "../onnx/Check.ts"
import type { Graph } from "../onnx/Graph.ts"
import { decode, encode } from "../onnx/OnnxFile.ts"
import { type Blob, blobFor, blobsOf } from "../plan/Blobs.ts"
import { type Taken, takenBy } from "../plan/Intake.ts"
import { graphOf, type Job } from "../plan/Job.ts"
import { programName } from "../plan/Parts.ts"
import { type Chosen, compiledOf, paths, type Plan, type Step } from "../plan/Plan.ts"
import { bytesOf, type PlacedWeight } from "../quantize/Blob.ts"
import { transposed } from "../quantize/format/transposed.ts"
import { type KernelDType, kernelDTypes } from "../quantize/kernel/Task.ts"
import { Kernels } from "../quantize/Kernels.ts"
import { quantizeGraph } from "../quantize/Quantizer.ts"
import type { Tensor } from "../tensor/Tensor.ts"
import { told } from "./Intake.ts"
import { linkWeights } from "./Links.ts"
import { type Examiner, examiner } from "./Remarks.ts"
import { formatSize } from "./report/Units.ts"
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

/** The format that a converted tensor is written in; another than the kernels' is a defect of its source. */
const kernelDType = ({ dtype, name }: Tensor): Effect.Effect<KernelDType> => {
  const known = kernelDTypes.find((one) => one === dtype)
  return known === undefined ? Effect.die(new Error(`${name}: no kernel writes ${dtype}`)) : Effect.succeed(known)
}

const bytesIn = ({ coded, range }: Tensor): number =>
  coded === undefined
    ? range.length
    : Object.values(coded.pieces).reduce((total, piece) => total + piece.range.length, 0)

const numbers = new WeakMap<Plan, ReadonlyMap<string, string>>()

/** `27/147` of every tensor that the build writes, by blob and name. Places in the plan: what ends when differs from run to run. */
const numbersOf = (plan: Plan): ReadonlyMap<string, string> => {
  const known = numbers.get(plan)
  if (known !== undefined) return known
  const written = plan.job.model.facts.layers.flatMap((_, layer) =>
    blobsOf(plan.job, layer).flatMap(({ layout, name }) =>
      [...layout.weights, ...layout.numbers].map((tensor) => `${name} ${tensor.name}`)
    )
  )
  const made = new Map(written.map((key, at) => [key, `${at + 1}/${written.length}`]))
  numbers.set(plan, made)
  return made
}

/** Logs at INFO; the text is made only where it is shown. */
const inform = Effect.fnUntraced(function*(text: () => string | undefined) {
  if (!(yield* LogLevel.isEnabled("Info"))) return
  const shown = text()
  if (shown !== undefined) yield* Effect.logInfo(shown)
})

/** `[27/147] …q_proj.weight, [576 × 576], gguf/Q4_1 → int4 (exact), 203 KiB → 182 KiB`. */
const said = (plan: Plan, blob: Blob, tensor: Tensor, becomes: string, after: number): Effect.Effect<void> =>
  inform(() =>
    `[${numbersOf(plan).get(`${blob.name} ${tensor.name}`) ?? "-"}] ${tensor.name}, [${tensor.shape.join(" × ")}], ${
      tensor.coded?.format ?? tensor.dtype
    } → ${becomes}, ${formatSize(bytesIn(tensor))} → ${formatSize(after)}`
  )

/** One weight's codes into the blob's file; `taken` says what that means of a tensor that was quantised before. */
const writeWeight = Effect.fn("quantize.writeWeight")(function*(
  plan: Plan,
  blob: Blob,
  tensor: Tensor,
  file: string,
  weight: PlacedWeight,
  taken: Taken | undefined,
  { examine }: Examiner
) {
  const kernels = yield* Kernels
  const source = weight.transposed === true ? transposed(tensor) : tensor
  const { codes, form, minimum, order, scales, zeros } = weight
  const place = { file, codes: codes.offset, scales: scales.offset }
  const facts = yield* taken?.intake === "exact"
    ? kernels.recode({
      source,
      form,
      to: {
        ...place,
        ...zeros === undefined ? {} : { zeros: zeros.offset },
        ...minimum === undefined ? {} : { minimum: minimum.offset },
        ...order === undefined ? {} : { order: order.offset }
      }
    })
    : kernels.quantize({ source, bits: form.bits, destination: place })
  yield* examine(source, facts)
  yield* said(plan, blob, tensor, `int${form.bits}${taken === undefined ? "" : ` (${taken.intake})`}`, bytesOf(weight))
  return taken === undefined ? [] : [told(taken, facts)]
})

const writeBlob = Effect.fn("quantize.writeBlob")(function*(plan: Plan, blob: Blob, looks: Examiner) {
  const { job } = plan
  const workspace = yield* Workspace
  const kernels = yield* Kernels
  const path = paths.quantizedBlob(blob)
  const taken = new Map(takenBy(job, blob).map((one) => [one.tensor.name, one]))
  const intake = yield* workspace.allocate(
    path,
    blob.layout.length,
    Effect.fnUntraced(function*(file) {
      const weights = yield* Effect.forEach(
        blob.layout.weights,
        (weight) => writeWeight(plan, blob, job.weights(weight.name), file, weight, taken.get(weight.name), looks),
        { concurrency: "unbounded" }
      )
      const numbers = yield* Effect.forEach(
        blob.layout.numbers,
        Effect.fnUntraced(function*({ name, region }) {
          const source = job.weights(name)
          const dtype = yield* kernelDType(source)
          const facts = yield* kernels.convert({ source, dtype, to: { file, offset: region.offset } })
          yield* looks.examine(source, facts)
          const one = taken.get(name)
          yield* said(
            plan,
            blob,
            source,
            `${source.dtype}${one === undefined ? "" : ` (${one.intake})`}`,
            region.length
          )
          return one === undefined ? [] : [told(one, facts)]
        }),
        { concurrency: "unbounded" }
      )
      yield* Effect.forEach(
        blob.layout.zeros,
        ({ byte, length, offset }) => kernels.fill({ byte, length, to: { file, offset } })
      )
      return [...weights, ...numbers].flat()
    })
  )
  return { path, intake }
})

/** Weights that the programs keep as they are, in the source's own bytes: looked at for NaN and infinity. */
const keptWeights = (job: Job, graphs: ReadonlyArray<Graph>): ReadonlyArray<Tensor> => {
  const known = new Set(
    job.model.tensors.map(({ name }) => name).filter((name) => job.weights(name).coded === undefined)
  )
  const names = graphs.flatMap(({ initializers }) => initializers.map(({ name }) => name))
  return [...new Set(names)].filter((name) => known.has(name)).map(job.weights)
}

/**
 * The quantised parts of a layer: one blob per part and scheme, graphs that read it. Float graphs are those that the ONNX stage
 * wrote; of sources that were quantised before, which do not go through it, they are made here. Without a layer: the links to the
 * source's own files.
 */
export const writeParts = Effect.fn("quantize.run")(function*({ id, layer }: Step, plan: Plan) {
  const { job } = plan
  const plain = job.checkpoint.kind === "huggingface"
  if (layer === undefined) {
    yield* inform(() =>
      numbersOf(plan).size > 0 ? undefined : "no tensor is written: all weights stay in the checkpoint's files"
    )
    return yield* linkWeights(job, paths.quantized, plain ? paths.onnx : undefined)
  }
  const workspace = yield* Workspace
  const kernels = yield* Kernels
  const blobs = blobsOf(job, layer)
  const looks = examiner()
  const rewritten = yield* Effect.forEach(
    compiledOf(job, layer),
    ({ program }: Chosen) =>
      Effect.map(plain ? readGraph(id, paths.onnxGraph(program)) : Effect.succeed(graphOf(job, program)), (graph) => {
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
    (tensor) => Effect.flatMap(kernels.scan(tensor), (facts) => looks.examine(tensor, facts)),
    { concurrency: "unbounded" }
  )
  const written = yield* Effect.forEach(blobs, (blob) => writeBlob(plan, blob, looks), { concurrency: "unbounded" })
  const graphs = yield* Effect.forEach(rewritten, ({ graph, program }) => {
    const [problem] = check(graph)
    if (problem !== undefined) return Effect.die(new Error(`${programName(program)}: ${JSON.stringify(problem)}`))
    const path = paths.quantizedGraph(program)
    return Effect.as(workspace.write(path, encode(graph)), { path })
  }, { concurrency: "unbounded" })
  const intake = written.flatMap((blob) => blob.intake)
  return {
    outputs: [...written.map(({ path }) => ({ path })), ...graphs],
    facts: { ...intake.length === 0 ? {} : { intake }, ...looks.facts() }
  }
})
