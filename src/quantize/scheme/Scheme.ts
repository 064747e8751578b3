import type { Form } from "../../tensor/Coded.ts"

/** How weights become codes: `w = (code - zeroPoint) · scale`, one f16 scale for each `block` numbers along a row. */
export interface Scheme {
  readonly name: string
  /** the precision of the configuration file that asks for it */
  readonly precision: string
  readonly bits: 4 | 8
  readonly block: 32
  readonly zeroPoint: number
  /** bits of the output head, the one weight that a scheme may treat differently */
  readonly headBits: 4 | 8
}

/** Bits that a scheme gives to a weight; `head` is the name of the output head's. */
export const bitsOf = (scheme: Scheme, weight: string, head: string): 4 | 8 =>
  weight === head ? scheme.headBits : scheme.bits

/** Form of a weight's codes under a scheme; `head` is the name of the output head's. */
export const formUnder = (scheme: Scheme, weight: string, head: string): Form => ({
  bits: bitsOf(scheme, weight, head),
  block: scheme.block,
  scales: "f16",
  zeros: "middle",
  minimum: false,
  ordered: false
})
