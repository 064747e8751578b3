import type { Graph } from "../onnx/Graph.ts"
import { type BlobLayout, layoutBlob } from "../quantize/Blob.ts"
import { formatOf } from "../quantize/format/registry.ts"
import { quantizable, weightsOf } from "../quantize/Quantizer.ts"
import { schemeOf } from "../quantize/scheme/registry.ts"
import { formUnder, type Scheme } from "../quantize/scheme/Scheme.ts"
import type { Form } from "../tensor/Coded.ts"
import type { Tensor } from "../tensor/Tensor.ts"
import { keyOf } from "./Identity.ts"
import { graphOf, type Job } from "./Job.ts"
import { type Part, partsOf, type Program, programName } from "./Parts.ts"
import { choiceOf, type PrecisionTable } from "./Precision.ts"

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

/** What becomes of a weight that was quantised before: its numbers bit for bit, rounded to plain numbers, or rounded to other codes. */
export const intakes = ["exact", "converted", "requantised"] as const
export type Intake = (typeof intakes)[number]

/** Form of a weight's codes; undefined: plain numbers. Codes that a source brings are kept unless fewer bits are asked for. */
const formFor = (tensor: Tensor | undefined, asked: Form | undefined): Form | undefined => {
  const own = tensor?.coded === undefined ? undefined : formatOf(tensor).form(tensor)
  return own !== undefined && (asked === undefined || asked.bits >= own.bits) ? own : asked
}

/** What happens to a coded tensor that gets this form, or plain numbers. */
const intakeAs = (tensor: Tensor, form: Form | undefined): Intake => {
  const format = formatOf(tensor)
  const own = format.form(tensor)
  if (form === undefined) return format.exact || own !== undefined && tensor.dtype === "f32" ? "exact" : "converted"
  return own !== undefined && JSON.stringify(own) === JSON.stringify(form) ? "exact" : "requantised"
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

/** A tensor that was quantised before, and what a blob makes of it. */
export interface Taken {
  readonly tensor: Tensor
  readonly intake: Intake
}

/** The coded tensors of a blob. */
export const takenBy = ({ checkpoint }: Job, { layout }: Blob): ReadonlyArray<Taken> =>
  [
    ...layout.weights.map(({ form, name }) => ({ name, form })),
    ...layout.numbers.map(({ name }) => ({ name, form: undefined }))
  ].flatMap(({ form, name }) => {
    const tensor = checkpoint.tensors.get(name)
    return tensor?.coded === undefined ? [] : [{ tensor, intake: intakeAs(tensor, form) }]
  })

const codedPrecisions = { 4: "A_BF16_W_INT4", 8: "A_BF16_W_INT8" } as const

/**
 * The table as it will be: what a source brings keeps its codes whatever is asked for, unless that is fewer bits, so that a
 * program is as precise as the widest of its weights. The same as `job.table` for a source of plain numbers.
 */
export const tableOf = (job: Job): PrecisionTable => {
  if (job.checkpoint.kind === "huggingface") return job.table
  const layers = job.model.facts.layers.map((_, index) => blobsOf(job, index))
  return job.table.map((row) => {
    const { choice, program } = row
    const blob = blobFor(layers[program.index] ?? [], program)
    if (choice.precision === undefined || blob === undefined) return row
    const placed = new Map(blob.layout.weights.map(({ form, name }) => [name, form.bits]))
    const bits = quantizable(graphOf(job, program)).map(({ weight }) => placed.get(weight))
    const widest = bits.includes(undefined) ? undefined : bits.includes(8) ? 8 : 4
    return widest === undefined || bits.length === 0
      ? row
      : { ...row, choice: { ...choice, precision: codedPrecisions[widest] } }
  })
}

/** How many weights of a source that was quantised before take which way, for people: `210 gguf/Q4_1 → int4, exact`. */
export const intakeLines = (job: Job): ReadonlyArray<string> => {
  if (job.checkpoint.kind === "huggingface") return []
  const found = new Map<string, Set<string>>()
  for (const index of job.model.facts.layers.keys()) {
    for (const blob of blobsOf(job, index)) {
      const forms = new Map(blob.layout.weights.map(({ form, name }) => [name, `int${form.bits}`]))
      for (const { intake, tensor } of takenBy(job, blob)) {
        const line = `${tensor.coded?.format ?? ""} → ${forms.get(tensor.name) ?? tensor.dtype}, ${intake}`
        found.set(line, (found.get(line) ?? new Set()).add(tensor.name))
      }
    }
  }
  return [...found].map(([line, names]) => `${names.size} ${line}`).sort()
}
