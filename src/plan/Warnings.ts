import { blobsOf } from "./Blobs.ts"
import { type Intake, type Taken, takenBy } from "./Intake.ts"
import type { Job } from "./Job.ts"
import { numberRanges } from "./Parts.ts"
import { sharingConflicts } from "./Precision.ts"

const many = (count: number, noun: string): string => `${count} ${noun}${count === 1 ? "" : "s"}`

/** What is lost of weights that were quantised before; a folder's own reader has said what it cannot hold. */
const intakeWarnings = (job: Job): ReadonlyArray<string> => {
  if (job.checkpoint.kind === "huggingface") return []
  const taken = job.model.facts.layers.flatMap((_, index) => blobsOf(job, index).flatMap((blob) => takenBy(job, blob)))
  const named = (kind: Intake) =>
    new Map(taken.filter(({ intake }) => intake === kind).map((one) => [one.tensor.name, one]))
  const requantised = named("requantised")
  const converted = job.checkpoint.kind === "gguf" ? named("converted") : new Map<string, Taken>()
  const formats = [...new Set([...converted.values()].map(({ tensor }) => tensor.coded?.format ?? ""))].sort()
  return [
    ...requantised.size === 0 ? [] : [
      `${
        many(requantised.size, "weight")
      } of the source have more bits than the configuration file asks for: they are requantised, which loses more than the source's own codes`
    ],
    ...converted.size === 0 ? [] : [
      `${many(converted.size, "weight")} are stored as ${
        formats.join(", ")
      }, which no integer codes hold: they are rounded to bfloat16`
    ]
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
