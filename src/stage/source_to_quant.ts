import { writeParts } from "./QuantizedParts.ts"
import type { Stage } from "./Stage.ts"

/** SOURCE_TO_QUANT: the codes of a Hugging Face folder that was quantised before, in the form that QUANTIZE writes. */
export const sourceToQuant = {
  name: "SOURCE_TO_QUANT",
  flag: "model_sdk",
  unit: "bytes",
  pace: 3,
  run: writeParts
} as const satisfies Stage<
  unknown,
  unknown
>
