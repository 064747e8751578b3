import { Schema } from "effect"
import { intakes, type Taken } from "../plan/Intake.ts"
import type { WeightFacts } from "../quantize/WeightFacts.ts"

/** What became of one tensor that was quantised before the build. */
export const TensorIntake = Schema.Struct({
  tensor: Schema.String,
  /** how the source stores it: `gguf/Q4_K`, `gptq` */
  format: Schema.String,
  kind: Schema.Literals(intakes),
  /** ‖w − ŵ‖ / ‖w‖ of what was rounded; null where every number arrived as it was */
  error: Schema.NullOr(Schema.Finite)
})
export type TensorIntake = typeof TensorIntake.Type

/** What the stamp of a step that takes such tensors says. */
const Facts = Schema.Struct({ intake: Schema.Array(TensorIntake) })

/** The intake that a step's facts tell of; undefined for other facts. */
export const intakeOf = Schema.decodeUnknownOption(Facts)

/** What is reported of a tensor once it is written. */
export const told = ({ intake, tensor }: Taken, { squaredErrors, squares }: WeightFacts): TensorIntake => ({
  tensor: tensor.name,
  format: tensor.coded?.format ?? tensor.dtype,
  kind: intake,
  error: intake === "exact" ? null : squares === 0 ? 0 : Math.sqrt(squaredErrors / squares)
})
