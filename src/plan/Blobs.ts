import type { Graph } from "../onnx/Graph.ts"
import { type BlobLayout, layoutBlob } from "../quantize/Blob.ts"
import { formatOf } from "../quantize/format/registry.ts"
import { weightsOf } from "../quantize/Linear.ts"
import { schemeOf } from "../quantize/scheme/registry.ts"
import { formUnder, type Scheme } from "../quantize/scheme/Scheme.ts"
import type { Form } from "../tensor/Coded.ts"
import type { Tensor } from "../tensor/Tensor.ts"
import { keyOf } from "./Identity.ts"
import { graphOf, type Job } from "./Job.ts"
import { type Part, partsOf, type Program, programName } from "./Parts.ts"
import { choiceOf } from "./Precision.ts"

/** One file of quantised weights, of one part under one scheme; prefill and decode read the same when their precision is the same. */
export interface Blob {
  /** file name: part, layer, scheme, and the key of what is in it */
  readonly name: string
  readonly layout: BlobLayout
  /** programs whose graphs read it */
  readonly programs: ReadonlyArray<Program>
}

/** The parts of a layer that multiply with weights. */
const weighty = ({ model }: Job, index: number): ReadonlyArray<Part> =>
  model.facts.layers.slice(index, index + 1).flatMap(partsOf).filter((part) => part !== "CACHE")

/** Form of a weight's codes; undefined: plain numbers. Codes that a source brings are kept unless fewer bits are asked for. */
const formFor = (tensor: Tensor | undefined, asked: Form | undefined): Form | undefined => {
  const own = tensor?.coded === undefined ? undefined : formatOf(tensor).form(tensor)
  return own !== undefined && (asked === undefined || asked.bits >= own.bits) ? own : asked
}

/** What a part's blob holds: weights as codes, and coded tensors that become plain numbers. */
const contentOf = ({ checkpoint, model }: Job, graph: Graph, scheme: Scheme | undefined) => {
  const coded = (name: string): Tensor | undefined => {
    const tensor = checkpoint.tensors.get(name)
    return tensor?.coded === undefined ? undefined : tensor
  }
  const weights = weightsOf(
    graph,
    (name) => formFor(coded(name), scheme === undefined ? undefined : formUnder(scheme, name, model.facts.head))
  )
  const placed = new Set(weights.map(({ name }) => name))
  const numbers = graph.initializers.flatMap(({ name }) => {
    const tensor = placed.has(name) ? undefined : coded(name)
    return tensor === undefined ? [] : [{ name, dtype: tensor.dtype, shape: tensor.shape }]
  })
  return { weights, numbers }
}

/** The blobs of a layer, one for each part and scheme that a compiled program asks for. */
export const blobsOf = (job: Job, index: number): ReadonlyArray<Blob> =>
  weighty(job, index).flatMap((part) => {
    const graph = graphOf(job, { part, isGroup: true, index })
    const wanted = new Map<string, Array<Program>>()
    for (const isGroup of [true, false]) {
      const { compile, precision } = choiceOf(job.table, part, isGroup, index)
      if (!compile || precision === undefined) continue
      wanted.set(precision, [...wanted.get(precision) ?? [], { part, isGroup, index }])
    }
    return [...wanted].flatMap(([precision, programs]) => {
      const scheme = schemeOf(precision)
      const { numbers, weights } = contentOf(job, graph, scheme)
      // not of the checkpoint's files: the same checkpoint in another folder gives the same graphs, which name the blob
      const key = keyOf({ scheme, weights, numbers })
      const name = `${part.toLowerCase()}_${index}.${scheme?.name ?? "stored"}.${key.slice(0, 16)}.bin`
      return weights.length + numbers.length === 0 ? [] : [{ name, layout: layoutBlob(weights, numbers), programs }]
    })
  })

/** The blob that a program's graph reads; undefined where its weights stay as they are. */
export const blobFor = (blobs: ReadonlyArray<Blob>, program: Program): Blob | undefined =>
  blobs.find(({ programs }) => programs.some((other) => programName(other) === programName(program)))
