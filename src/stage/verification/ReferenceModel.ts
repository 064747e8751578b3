import { Effect, FileSystem, Path } from "effect"
import type { Graph } from "../../onnx/Graph.ts"
import { graphOf, type Job } from "../../plan/Job.ts"
import type { Program } from "../../plan/Parts.ts"
import { programsOf } from "../../plan/Plan.ts"
import { Kernels } from "../../quantize/Kernels.ts"
import { byteLength, dtypes } from "../../tensor/DType.ts"
import { decodeFloats, type FloatDType } from "../../tensor/Float.ts"
import type { Tensor } from "../../tensor/Tensor.ts"
import { faultOf } from "../../verify/Compare.ts"
import { chunked, type Place, placed } from "../../verify/Reference.ts"
import type { Runtime } from "../../verify/Runtime.ts"
import { ReferenceBroken } from "../../verify/VerificationFailed.ts"
import { workspaceFailure } from "../Disk.ts"
import { type Activations, matrix } from "./Activations.ts"
import { runEach } from "./RunEach.ts"

/** Matrices are cast to f32 in runs of rows of this many bytes at most. */
const CHUNK = 4 * 2 ** 20

/** What the float model runs in. */
export interface ReferenceOptions {
  readonly runtime: Runtime["Service"]
  /** absolute folder for numbers of tensors that are stored as codes; their files are removed layer by layer */
  readonly scratch: string
  readonly threads: number
}

const isFloat = (dtype: string): dtype is FloatDType =>
  ["f32", "f16", "bf16", "f8_e4m3", "f8_e5m2"].some((name) => name === dtype)

const failed = <A, R>(effect: Effect.Effect<A, Parameters<ReturnType<typeof workspaceFailure>>[0], R>, at: string) =>
  Effect.mapError(effect, workspaceFailure(at))

/** The parts of a layer in the order in which a token meets them. */
const partsOf = (job: Job, index: number): ReadonlyArray<Program> =>
  programsOf(job, index).map(({ program }) => program).filter(({ isGroup }) => isGroup)

/** The float graph of a part over the whole distribution, not its likeliest token alone. */
const floatGraph = (job: Job, program: Program): Graph =>
  graphOf({ ...job, request: { ...job.request, returnLogits: true } }, program)

/** The float model of a job, from the checkpoint's own bytes: nothing that a build wrote is read. One layer at a time. */
export const openReference = Effect.fnUntraced(function*(job: Job, { runtime, scratch, threads }: ReferenceOptions) {
  const fs = yield* FileSystem.FileSystem
  const path = yield* Path.Path
  const kernels = yield* Kernels
  const { embedding } = job.model.facts

  // onnxruntime follows no link that leaves the session's folder: paths are real ones, and the folder is the root
  const real = new Map<string, string>()
  const placeOf = Effect.fnUntraced(function*(file: string) {
    const found = real.get(file) ?? (yield* failed(fs.realPath(file), file))
    real.set(file, found)
    return { root: path.parse(found).root, location: path.relative(path.parse(found).root, found) }
  })
  const root = path.parse(path.resolve(scratch)).root

  /** Plain numbers of a coded tensor, in a file that goes with the scope. */
  const plain = Effect.fnUntraced(function*(tensor: Tensor) {
    const file = path.join(scratch, `${encodeURIComponent(tensor.name)}.f32`)
    const count = tensor.shape.reduce((all, dim) => all * dim, 1)
    yield* Effect.acquireRelease(
      failed(Effect.andThen(fs.writeFile(file, new Uint8Array()), fs.truncate(file, byteLength("f32", count))), file),
      () => Effect.ignore(fs.remove(file, { force: true }))
    )
    yield* kernels.convert({ source: tensor, dtype: "f32", to: { file, offset: 0 } })
    const place: Place = { location: (yield* placeOf(file)).location, offset: 0, dtype: "f32" }
    return place
  })

  const placesOf = Effect.fnUntraced(function*(graph: Graph) {
    const external = graph.initializers.filter(({ data }) => data.kind === "external")
    const places = yield* Effect.forEach(external, ({ name }) =>
      Effect.gen(function*() {
        const tensor = job.weights(name)
        if (tensor.coded !== undefined) return [name, yield* plain(tensor)] as const
        const { location } = yield* placeOf(tensor.range.file)
        return [name, { location, offset: tensor.range.offset }] as const
      }))
    return new Map<string, Place>(places)
  })

  const run = Effect.fn("ReferenceModel.run")(function*(program: Program, given: Activations) {
    const graph = floatGraph(job, program)
    const places = yield* placesOf(graph)
    // the head apart, the others' matrices in runs of rows
    const options = {
      name: `${graph.name} of the float model`,
      folder: root,
      threads,
      accuracy: 1,
      // constants would be cast to f32 at load and kept, all of them at once
      optimisation: "disabled"
    } as const
    const [made = {}] = yield* runEach(
      runtime,
      placed(graph, (name) => places.get(name)),
      options,
      [given],
      (one) => chunked(one, CHUNK)
    )
    for (const [tensor, { data, shape }] of Object.entries(made)) {
      const fault = data instanceof Float32Array ? faultOf(data, data) : undefined
      if (fault !== undefined) {
        const columns = shape.at(-1) ?? 1
        return yield* new ReferenceBroken({
          part: graph.name,
          tensor,
          index: [Math.floor(fault.index / columns), fault.index % columns],
          found: fault.found
        })
      }
    }
    return made
  }, Effect.scoped)

  /** What every part of a layer makes of `given` (hidden, cos, sin, mask, state, rows), with `given`; K and V are k and v of the same tokens. */
  const layer = Effect.fnUntraced(function*(index: number, given: Activations) {
    let values = given
    for (const program of partsOf(job, index)) {
      const made = yield* run(program, values)
      const { k, v } = made
      values = { ...values, ...made, ...k === undefined ? {} : { K: k }, ...v === undefined ? {} : { V: v } }
    }
    return values
  })

  /** `[tokens × hidden]`: what enters the first layer. */
  const embed = Effect.fnUntraced(function*(ids: ReadonlyArray<number>) {
    const tensor = job.weights(embedding.tensor)
    const [, columns = 0] = tensor.shape
    const coded = tensor.coded === undefined ? undefined : yield* plain(tensor)
    const dtype = coded === undefined ? tensor.dtype : "f32"
    if (!isFloat(dtype)) return yield* Effect.die(new Error(`${tensor.name}: an embedding in ${dtype}`))
    const file = coded === undefined ? tensor.range.file : path.join(root, coded.location)
    const offset = coded === undefined ? tensor.range.offset : coded.offset
    const row = columns * dtypes[dtype].bits / 8
    const open = yield* failed(fs.open(file), file)
    const rows = new Float32Array(ids.length * columns)
    const bytes = new Uint8Array(row)
    for (const [at, id] of ids.entries()) {
      for (let read = 0; read < row;) {
        const got = yield* failed(open.read(bytes.subarray(read), { position: BigInt(offset + id * row + read) }), file)
        if (got === 0) return yield* Effect.die(new Error(`${file} has lost its end`))
        read += got
      }
      rows.set(decodeFloats(dtype, bytes).map((value) => value * embedding.multiplier), at * columns)
    }
    return matrix(rows, ids.length, columns)
  }, Effect.scoped)

  return { embed, layer }
})

/** The float model, layer by layer. */
export type ReferenceModel = Effect.Success<ReturnType<typeof openReference>>
