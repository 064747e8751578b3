// Rounding without relaxed instructions: the same bits on every machine.
import { bias, grid, whole, wholeLessGrid } from "./constants"

/** The divisor of `round` for a scale; a scale of zero or infinity gives zero everywhere. */
// @ts-ignore: decorator
@inline
export function divisor<T>(scale: f32): v128 {
  if (isFloat<T>()) return f32x4.splat(scale == 0 ? Infinity : scale)
  return f32x4.splat(scale == 0 ? 0 : <f32>1 / scale)
}

/**
 * rint(x / scale) + zero as i32, half to even, where x / scale is the f32 quotient and |x / scale| < 256.
 * 16-bit numbers: x has at most 11 significant bits and so has the scale. A quotient near a tie is either the tie or at
 * least 2^-13 from it, and x · (1/scale) is within 2^-16 of the quotient: on the grid of 2^-14 a tie is a tie again and
 * nothing else becomes one. So two additions stand for the division (1.6 times as fast), bit for bit.
 */
// @ts-ignore: decorator
@inline
export function round<T>(x: v128, by: v128, zero: i32): v128 {
  const sum = isFloat<T>()
    ? f32x4.add(f32x4.div(x, by), whole())
    : f32x4.add(f32x4.add(f32x4.mul(x, by), grid()), wholeLessGrid())
  return i32x4.sub(sum, bias(zero))
}

/** f16 bits of four numbers >= 0, rounded half to even; 0x7c00 from 65520 on. */
// @ts-ignore: decorator
@inline
export function toF16(x: v128): v128 {
  // below 2^-14: the sum with 0.5 has the spacing of the subnormals, 2^-24
  const subnormal = i32x4.sub(f32x4.add(x, f32x4.splat(0.5)), i32x4.splat(0x3f000000))
  const odd = v128.and(i32x4.shr_u(x, 13), i32x4.splat(1))
  const normal = i32x4.shr_u(i32x4.add(i32x4.add(x, odd), i32x4.splat(0xfff - 0x38000000)), 13)
  const half = v128.bitselect(subnormal, normal, i32x4.lt_s(x, i32x4.splat(0x38800000)))
  return v128.bitselect(i32x4.splat(0x7c00), half, i32x4.ge_s(x, i32x4.splat(0x477ff000)))
}

/** bf16 bits of a finite x >= 0, rounded half to even. */
// @ts-ignore: decorator
@inline
export function toBf16(x: f32): u32 {
  const bits = reinterpret<u32>(x)
  return (bits + 0x7fff + ((bits >> 16) & 1)) >> 16
}
