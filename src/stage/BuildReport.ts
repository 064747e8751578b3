import type { StageName } from "../plan/Plan.ts"
import type { Precision } from "../plan/Precision.ts"
import type { Verification } from "../verify/Verification.ts"
import type { TensorIntake } from "./Intake.ts"

/** One step of a build. */
export interface StepReport {
  readonly id: string
  readonly stage: StageName
  /** kept from an earlier run */
  readonly kept: boolean
  readonly seconds: number
}

/** Weights of one precision: how many numbers, and their bytes in the checkpoint and in the archives. */
export interface PrecisionReport {
  readonly precision: Precision
  readonly weights: number
  readonly before: number
  readonly after: number
}

/** What a build did. Sizes in bytes, times in seconds. */
export interface BuildReport {
  /** absolute */
  readonly output: string
  readonly steps: ReadonlyArray<StepReport>
  readonly precisions: ReadonlyArray<PrecisionReport>
  readonly archives: number
  readonly written: number
  readonly seconds: number
  readonly warnings: ReadonlyArray<string>
  /** what became of the tensors that the source had quantised, by name; none of a source of plain numbers */
  readonly intake: ReadonlyArray<TensorIntake>
  /** what the programs' errors came to, of this build or of the one that it was kept from; undefined where nothing was compared */
  readonly verification: Verification | undefined
  /** stages of which something is still missing, or of another build; none of a whole build */
  readonly lacking: ReadonlyArray<StageName>
  /** programs that the configuration file left out */
  readonly omitted: number
  /** what tells of the whole build, relative to `output`: build.json, report.html; none of a build that lacks a stage */
  readonly files: ReadonlyArray<string>
}
