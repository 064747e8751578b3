import type { Scheme } from "./Scheme.ts"

/**
 * Scale: the number of largest magnitude (the first on a tie) / -8, rounded to f16 before codes are chosen.
 * Code: rint(w / scale) + 8, half to even, clamped to 0…15. The head keeps 8 bits: 4 there alone cost 0.07–0.12 of KL, 8 cost
 * 0.001 (SmolLM2-135M). Source: design §9.
 */
export const w4 = {
  name: "w4",
  precision: "A_BF16_W_INT4",
  bits: 4,
  block: 32,
  zeroPoint: 8,
  headBits: 8
} as const satisfies Scheme
