import { formatOf } from "../quantize/format/registry.ts"
import { quantizable } from "../quantize/Linear.ts"
import type { Form } from "../tensor/Coded.ts"
import type { Tensor } from "../tensor/Tensor.ts"
import { type Blob, blobFor, blobsOf } from "./Blobs.ts"
import { graphOf, type Job } from "./Job.ts"
import type { PrecisionTable } from "./Precision.ts"

/**
 * What becomes of a weight that was quantised before: its numbers bit for bit, rounded because no codes of ours hold them, or
 * rounded although some do, as a configuration file asked for fewer bits.
 */
export const intakes = ["exact", "converted", "requantised"] as const
export type Intake = (typeof intakes)[number]

/** What happens to a coded tensor that gets this form, or plain numbers. */
const intakeAs = (tensor: Tensor, form: Form | undefined): Intake => {
  const format = formatOf(tensor)
  const own = format.form(tensor)
  if (form === undefined) return format.exact || own !== undefined && tensor.dtype === "f32" ? "exact" : "converted"
  if (own === undefined) return "converted"
  return JSON.stringify(own) === JSON.stringify(form) ? "exact" : "requantised"
}

/** A tensor that was quantised before, and what a blob makes of it: codes of a form, or plain numbers. */
export interface Taken {
  readonly tensor: Tensor
  readonly intake: Intake
  readonly form: Form | undefined
}

// plain numbers are coded too where they lie in another order than the model's, or with something added: they were never quantised
const plainFormats: ReadonlySet<string> = new Set(["gguf/F32", "gguf/F16", "gguf/BF16"])

/** The tensors of a blob that were quantised before. */
export const takenBy = ({ checkpoint }: Job, { layout }: Blob): ReadonlyArray<Taken> =>
  [
    ...layout.weights.map(({ form, name }) => ({ name, form })),
    ...layout.numbers.map(({ name }) => ({ name, form: undefined }))
  ].flatMap(({ form, name }) => {
    const tensor = checkpoint.tensors.get(name)
    return tensor?.coded === undefined || plainFormats.has(tensor.coded.format)
      ? []
      : [{ tensor, form, intake: intakeAs(tensor, form) }]
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
