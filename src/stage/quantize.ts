import { writeParts } from "./QuantizedParts.ts"
import type { Stage } from "./Stage.ts"

/** QUANTIZE: weights become codes in one blob per part and scheme; graphs read them through DequantizeLinear. */
export const quantize = {
  name: "QUANTIZE",
  flag: "quantize",
  unit: "bytes",
  pace: 1,
  run: writeParts
} as const satisfies Stage<
  unknown,
  unknown
>
