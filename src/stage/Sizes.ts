import { blobFor, blobsOf } from "../plan/Blobs.ts"
import { tableOf } from "../plan/Intake.ts"
import { graphOf, type Job } from "../plan/Job.ts"
import { type Part, programName } from "../plan/Parts.ts"
import { compiledOf } from "../plan/Plan.ts"
import { type Precision, precisions } from "../plan/Precision.ts"
import { bytesOf } from "../quantize/Blob.ts"
import type { PrecisionReport } from "./BuildReport.ts"

/** One weight of a program: how many numbers, and their bytes in the source and in the archive. */
interface WeightSize {
  readonly name: string
  readonly precision: Precision
  readonly weights: number
  readonly before: number
  readonly after: number
}

/** A compiled program's weights. `precision`: what it is as a whole. */
export interface ProgramSize {
  readonly program: string
  readonly layer: number
  readonly part: Part
  readonly isGroup: boolean
  readonly precision: Precision
  readonly weights: ReadonlyArray<WeightSize>
}

const sum = (numbers: ReadonlyArray<number>): number => numbers.reduce((total, n) => total + n, 0)

/** The sizes of every compiled program, in the order in which a token meets them. */
export const programSizes = (job: Job): ReadonlyArray<ProgramSize> => {
  const become = new Map(tableOf(job).map(({ choice, program }) => [programName(program), choice.precision]))
  return job.model.facts.layers.flatMap((_, layer) => {
    const blobs = blobsOf(job, layer)
    return compiledOf(job, layer).flatMap(({ choice: { precision: asked }, program }) => {
      if (asked === undefined) return []
      const blob = blobFor(blobs, program)
      const weights = graphOf(job, program).initializers.flatMap(({ data, name, shape }): ReadonlyArray<WeightSize> => {
        if (data.kind !== "external") return []
        const placed = blob?.layout.weights.find((weight) => weight.name === name)
        const plain = blob?.layout.numbers.find((numbers) => numbers.name === name)
        const pieces = job.checkpoint.tensors.get(name)?.coded?.pieces
        // what it is: the head keeps 8 bits, and a source's own codes stay as they are unless fewer bits are asked for
        const precision = placed === undefined
          ? asked
          : placed.form.bits === 4
          ? "A_BF16_W_INT4"
          : "A_BF16_W_INT8"
        return [{
          name,
          precision,
          weights: shape.reduce((a, b) => a * b, 1),
          before: pieces === undefined ? data.length : sum(Object.values(pieces).map(({ range }) => range.length)),
          after: placed === undefined ? plain?.region.length ?? data.length : bytesOf(placed)
        }]
      })
      const name = programName(program)
      return [{
        program: name,
        layer,
        part: program.part,
        isGroup: program.isGroup,
        precision: become.get(name) ?? asked,
        weights
      }]
    })
  })
}

/** Weights by precision over programs, a weight that two programs share counted once. */
export const precisionReports = (programs: ReadonlyArray<ProgramSize>): ReadonlyArray<PrecisionReport> => {
  const weights = programs.flatMap((program) => program.weights)
  return precisions.flatMap((precision) => {
    const distinct = [
      ...new Map(weights.filter((weight) => weight.precision === precision).map((weight) => [weight.name, weight]))
        .values()
    ]
    return distinct.length === 0 ? [] : [{
      precision,
      weights: sum(distinct.map((weight) => weight.weights)),
      before: sum(distinct.map(({ before }) => before)),
      after: sum(distinct.map(({ after }) => after))
    }]
  })
}
