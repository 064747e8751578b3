// Codes as they are written: one a byte, or two, the first in the low nibble.
import { evenBytes } from "./constants"

// 16 codes below 16 → 8 bytes in the even lanes
// @ts-ignore: decorator
@inline
function pairs(c: v128): v128 {
  return v128.and(v128.or(c, i16x8.shr_u(c, 4)), evenBytes())
}

/** 32 codes below 16 → 16 bytes. */
// @ts-ignore: decorator
@inline
export function pack32(a: v128, b: v128): v128 {
  return i8x16.narrow_i16x8_u(pairs(a), pairs(b))
}

/** 32 codes, one a byte. */
// @ts-ignore: decorator
@inline
export function store32(to: usize, a: v128, b: v128): void {
  v128.store(to, a)
  v128.store(to, b, 16)
}
