import type { Scheme } from "./Scheme.ts"
import { w4 } from "./w4.ts"
import { w8 } from "./w8.ts"

/** Every number scheme that we write. A precision without one keeps its weights as they are. */
export const schemes = [w8, w4] as const satisfies ReadonlyArray<Scheme>

/** The scheme of a precision; none for BF16. */
export const schemeOf = (precision: string): Scheme | undefined =>
  schemes.find((scheme) => scheme.precision === precision)
