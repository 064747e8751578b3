import { writeParts } from "./QuantizedParts.ts"
import type { Stage } from "./Stage.ts"

/** MODEL_SDK_DIRECT: the codes of a GGUF file, bit for bit, in the form that QUANTIZE writes. */
export const modelSdkDirect = {
  name: "MODEL_SDK_DIRECT",
  flag: "model_sdk",
  unit: "bytes",
  pace: 3,
  run: writeParts
} as const satisfies Stage<
  unknown,
  unknown
>
