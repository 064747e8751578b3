import type { Scheme } from "./Scheme.ts"

/** Scale: largest magnitude / 127, rounded to f16 before codes are chosen. Code: rint(w / scale) + 128, half to even, clamped to 0…255. */
export const w8 = {
  name: "w8",
  precision: "A_BF16_W_INT8",
  bits: 8,
  block: 32,
  zeroPoint: 128,
  headBits: 8
} as const satisfies Scheme
