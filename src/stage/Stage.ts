import type { Effect } from "effect"
import type { Plan, StageName, Step } from "../plan/Plan.ts"
import type { StepOutput } from "./Workspace.ts"

/** What a step left: its files, with their hashes where the step computed them anyway. */
export interface StepResult {
  readonly outputs: ReadonlyArray<StepOutput>
}

/** A kind of step: what runs it, and the flag that names it. */
export interface Stage<E, R> {
  readonly name: StageName
  readonly flag: "devkit" | "onnx" | "quantize" | "model_sdk" | "compile"
  readonly run: (step: Step, plan: Plan) => Effect.Effect<StepResult, E, R>
}
