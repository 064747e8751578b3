import type { Effect } from "effect"
import type { Plan, StageName, Step } from "../plan/Plan.ts"
import type { StepOutput } from "./Workspace.ts"

/** What a step left: its files, with their hashes where the step computed them anyway. */
export interface StepResult {
  readonly outputs: ReadonlyArray<StepOutput>
  /** kept in the step's stamp */
  readonly facts?: unknown
}

/** A kind of step: what runs it, and the flag that names it; undefined: what all stages together bring. */
export interface Stage<E, R> {
  readonly name: StageName
  readonly flag: "devkit" | "onnx" | "quantize" | "model_sdk" | "compile" | undefined
  /** says on the way how far it is, in bytes of its step's `reads`; others are at their end at once */
  readonly tells?: boolean
  /** what is counted as progress: bytes read and written, or steps where these say nothing */
  readonly unit: "bytes" | "steps"
  /** time that one of the unit takes, as a share of a byte of QUANTIZE: for the time left */
  readonly pace: number
  readonly run: (step: Step, plan: Plan) => Effect.Effect<StepResult, E, R>
}
