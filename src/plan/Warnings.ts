import { schemeOf } from "../quantize/scheme/registry.ts"
import type { Form } from "../tensor/Coded.ts"
import { blobsOf } from "./Blobs.ts"
import { type Taken, takenBy } from "./Intake.ts"
import type { Job } from "./Job.ts"
import { numberRanges } from "./Parts.ts"
import { choiceOf, type Precision, sharingConflicts } from "./Precision.ts"

const many = (count: number, noun: string): string => `${count} ${noun}${count === 1 ? "" : "s"}`

/** A tensor that was quantised before, what becomes of it, and what was asked for. */
interface Asked extends Taken {
  readonly asked: Precision
}

const takenIn = (job: Job): ReadonlyArray<Asked> =>
  job.model.facts.layers.flatMap((_, index) =>
    blobsOf(job, index).flatMap((blob) => {
      const [program] = blob.programs
      const asked = program === undefined
        ? undefined
        : choiceOf(job.table, program.part, program.isGroup, index).precision
      return asked === undefined ? [] : takenBy(job, blob).map((one) => ({ ...one, asked }))
    })
  )

/** How many tensors these are; prefill and decode programs may have the same. */
const counted = (all: ReadonlyArray<Asked>): string =>
  many(new Set(all.map(({ tensor }) => tensor.name)).size, "weight")

const formText = ({ bits, minimum, zeros }: Form): string =>
  `int${bits}${minimum ? " with minima" : zeros === "stored" ? " with zero points" : ""}`

/** More bits than the source's codes have were asked for. */
const isWidened = ({ asked, form, intake }: Asked): boolean =>
  intake === "exact" && form !== undefined && (schemeOf(asked)?.bits ?? 16) > form.bits

/** What is lost of weights that were quantised before, and what a configuration file asked for in vain. */
const intakeWarnings = (job: Job): ReadonlyArray<string> => {
  if (job.checkpoint.kind === "huggingface") return []
  const taken = takenIn(job)
  const requantised = taken.filter(({ intake }) => intake === "requantised")
  const converted = Map.groupBy(
    taken.filter(({ intake }) => intake === "converted"),
    ({ form }) => form === undefined ? "bfloat16" : `int${form.bits}, as the configuration file asks`
  )
  const kept = Map.groupBy(
    job.request.configurationFile === undefined ? [] : taken.filter(isWidened),
    ({ asked, form }) => `(${form === undefined ? "" : formText(form)}): asked for ${asked}`
  )
  return [
    ...requantised.length === 0 ? [] : [
      `${
        counted(requantised)
      } of the source have more bits than the configuration file asks for: they are requantised, which loses more than the source's own codes`
    ],
    ...Array.from(converted, ([becomes, all]) => {
      const formats = [...new Set(all.map(({ tensor }) => tensor.coded?.format ?? ""))].sort().join(", ")
      return `${counted(all)} are stored as ${formats}, which no integer codes hold: they are rounded to ${becomes}`
    }),
    ...Array.from(
      kept,
      ([what, all]) => `${counted(all)} keep the source's own codes ${what}, more bits would not bring anything back`
    )
  ]
}

/** What a user should know of a build before it begins, one sentence each. */
export const warningsOf = (job: Job): ReadonlyArray<string> => {
  const { checkpoint, model, request, table, target } = job
  const warnings = [...checkpoint.warnings, ...model.warnings]
  if (request.enableFilterSharing) {
    const layers = [...new Set(sharingConflicts(table).map(({ index }) => index))]
    if (layers.length > 0) {
      warnings.push(
        `--enable_filter_sharing: group and single programs of layers ${
          numberRanges(layers)
        } have different precisions and cannot share their weights`
      )
    }
  }
  if (table.every(({ choice }) => !choice.compile)) {
    warnings.push("the configuration file leaves every program out (\"compile\": False): there will be no archive")
  }
  if (request.maxNumTokens > model.facts.positions) {
    warnings.push(
      `--max_num_tokens ${request.maxNumTokens} is more than the ${model.facts.positions} positions that the model was made for; answers past that are unreliable`
    )
  }
  warnings.push(...intakeWarnings(job))
  if (request.verify !== "none" && target.runsHere !== true) {
    warnings.push(
      `programs for ${target.name} do not run on this machine: they are not compared with the float model (--verify none says so without a warning)`
    )
  }
  const lora = [
    ...new Set(table.filter(({ choice }) => choice.lora !== "LORA_DISABLED").map(({ program }) => program.index))
  ]
  if (lora.length > 0) {
    warnings.push(
      `the configuration file asks for LoRA in layers ${
        numberRanges(lora)
      }; adapters are not built yet, the layers are compiled without branches`
    )
  }
  if (lora.length === 0 && request.loraRank !== undefined) {
    warnings.push("--lora_rank has no effect: the configuration file asks for no LoRA branch")
  }
  const int4 = table.some(({ choice }) => choice.precision === "A_BF16_W_INT4")
  if (int4) {
    warnings.push(
      "the output head stays 8-bit under A_BF16_W_INT4 (4 bits there cost more quality than all layers together)"
    )
  }
  return warnings
}
