// Numbers as a checkpoint stores them. The type parameter names the format and vanishes at compile time:
// u16 = bf16, i16 = f16, f32 = f32. A group is 8 numbers (16 bytes, f32: 32).
import { f16Mask, magnitudeMask, two112, zeros } from "./constants"

/** Smallest magnitude (bits without the sign) that is not finite: infinity; above it, NaN. */
// @ts-ignore: decorator
@inline
export function infinity<T>(): u32 {
  return isFloat<T>() ? 0x7f800000 : isSigned<T>() ? 0x7c00 : 0x7f80
}

/** Bits without the sign of one number. */
// @ts-ignore: decorator
@inline
export function magnitude<T>(p: usize): u32 {
  return isFloat<T>() ? load<u32>(p) & 0x7fffffff : <u32>load<u16>(p) & 0x7fff
}

// @ts-ignore: decorator
@inline
export function isNegative<T>(p: usize): bool {
  return isFloat<T>() ? load<i32>(p) < 0 : load<i16>(p) < 0
}

/** The f32 value of a magnitude. */
// @ts-ignore: decorator
@inline
export function valueOf<T>(bits: u32): f32 {
  if (isFloat<T>()) return reinterpret<f32>(bits)
  if (isSigned<T>()) return reinterpret<f32>(bits << 13) * reinterpret<f32>(0x77800000)
  return reinterpret<f32>(bits << 16)
}

// Four f16 in the low halves of 32-bit lanes. In the place of an f32's bits they are the value times 2^-112, subnormals
// included, and the product is exact. (The arithmetic shift leaves copies of the sign, which the mask takes off.)
// @ts-ignore: decorator
@inline
function widenF16(x: v128): v128 {
  return f32x4.mul(v128.and(i32x4.shr_s(i32x4.shl(x, 16), 3), f16Mask()), two112())
}

/** Numbers 0…3 of a group as f32. */
// @ts-ignore: decorator
@inline
export function low<T>(p: usize): v128 {
  if (isFloat<T>()) return v128.load(p)
  if (isSigned<T>()) return widenF16(v128.load_ext<u16>(p))
  return v128.shuffle<u16>(zeros(), v128.load(p), 0, 8, 1, 9, 2, 10, 3, 11)
}

/** Numbers 4…7 of a group as f32. */
// @ts-ignore: decorator
@inline
export function high<T>(p: usize): v128 {
  if (isFloat<T>()) return v128.load(p, 16)
  if (isSigned<T>()) return widenF16(v128.load_ext<u16>(p, 8))
  return v128.shuffle<u16>(zeros(), v128.load(p), 4, 12, 5, 13, 6, 14, 7, 15)
}

// @ts-ignore: decorator
@inline
function maxU<T>(a: v128, b: v128): v128 {
  return isFloat<T>() ? i32x4.max_u(a, b) : i16x8.max_u(a, b)
}

// @ts-ignore: decorator
@inline
function maxS<T>(a: v128, b: v128): v128 {
  return isFloat<T>() ? i32x4.max_s(a, b) : i16x8.max_s(a, b)
}

// Vector `i` of a run of numbers, as stored.
// @ts-ignore: decorator
@inline
function raw(p: usize, i: usize): v128 {
  return v128.load(p + (i << 4))
}

// @ts-ignore: decorator
@inline
function absRaw<T>(p: usize, i: usize): v128 {
  return v128.and(raw(p, i), magnitudeMask<T>())
}

/** Vector maximum of the magnitudes of 32 numbers. */
// @ts-ignore: decorator
@inline
export function magnitudes32<T>(p: usize): v128 {
  let m = maxU<T>(maxU<T>(absRaw<T>(p, 0), absRaw<T>(p, 1)), maxU<T>(absRaw<T>(p, 2), absRaw<T>(p, 3)))
  if (isFloat<T>()) {
    m = maxU<T>(m, maxU<T>(maxU<T>(absRaw<T>(p, 4), absRaw<T>(p, 5)), maxU<T>(absRaw<T>(p, 6), absRaw<T>(p, 7))))
  }
  return m
}

// Sign and magnitude order like integers: the signed maximum is the largest positive number, the unsigned one the negative.
// @ts-ignore: decorator
@inline
function signed32<T>(p: usize): v128 {
  let m = maxS<T>(maxS<T>(raw(p, 0), raw(p, 1)), maxS<T>(raw(p, 2), raw(p, 3)))
  if (isFloat<T>()) m = maxS<T>(m, maxS<T>(maxS<T>(raw(p, 4), raw(p, 5)), maxS<T>(raw(p, 6), raw(p, 7))))
  return m
}

// @ts-ignore: decorator
@inline
function unsigned32<T>(p: usize): v128 {
  let m = maxU<T>(maxU<T>(raw(p, 0), raw(p, 1)), maxU<T>(raw(p, 2), raw(p, 3)))
  if (isFloat<T>()) m = maxU<T>(m, maxU<T>(maxU<T>(raw(p, 4), raw(p, 5)), maxU<T>(raw(p, 6), raw(p, 7))))
  return m
}

/** Lane-wise maximum of two results of `magnitudes32`. */
// @ts-ignore: decorator
@inline
export function larger<T>(a: v128, b: v128): v128 {
  return maxU<T>(a, b)
}

/** Largest magnitude in a result of `magnitudes32`. */
// @ts-ignore: decorator
@inline
export function across<T>(v: v128): u32 {
  v = maxU<T>(v, v128.shuffle<u32>(v, v, 2, 3, 0, 1))
  v = maxU<T>(v, v128.shuffle<u32>(v, v, 1, 0, 3, 2))
  if (isFloat<T>()) return i32x4.extract_lane(v, 0)
  v = i16x8.max_u(v, i32x4.shr_u(v, 16))
  return i16x8.extract_lane_u(v, 0)
}

/** How far the bits of a number of T are shifted up to lie where an f32 has them (f16: the value times 2^-112). */
// @ts-ignore: decorator
@inline
export function places<T>(): u32 {
  return isFloat<T>() ? 0 : isSigned<T>() ? 13 : 16
}

// Where the 32-bit lanes of four vectors meet: the maximum of each vector is that of one lane of the result (16-bit: its halves).
// @ts-ignore: decorator
@inline
function meet<T>(a: v128, b: v128, c: v128, d: v128, signed: bool): v128 {
  const ab = v128.shuffle<u32>(a, b, 0, 4, 1, 5), ba = v128.shuffle<u32>(a, b, 2, 6, 3, 7)
  const cd = v128.shuffle<u32>(c, d, 0, 4, 1, 5), dc = v128.shuffle<u32>(c, d, 2, 6, 3, 7)
  const left = signed ? maxS<T>(ab, ba) : maxU<T>(ab, ba), right = signed ? maxS<T>(cd, dc) : maxU<T>(cd, dc)
  const even = v128.shuffle<u64>(left, right, 0, 2), odd = v128.shuffle<u64>(left, right, 1, 3)
  return signed ? maxS<T>(even, odd) : maxU<T>(even, odd)
}

/** Largest magnitude of each of four blocks of 32, shifted by `places`. */
// @ts-ignore: decorator
@inline
export function sizes4<T>(p: usize): v128 {
  const step = 32 * sizeof<T>()
  const m = meet<T>(
    magnitudes32<T>(p),
    magnitudes32<T>(p + step),
    magnitudes32<T>(p + 2 * step),
    magnitudes32<T>(p + 3 * step),
    false
  )
  if (isFloat<T>()) return m
  const top = i32x4.shr_u(i16x8.max_u(m, i32x4.shl(m, 16)), 16)
  return i32x4.shl(top, places<T>())
}

/** Largest magnitude among the numbers of four blocks that are not negative, shifted; 0 where there is none. */
// @ts-ignore: decorator
@inline
export function positives4<T>(p: usize): v128 {
  const step = 32 * sizeof<T>()
  const m = meet<T>(signed32<T>(p), signed32<T>(p + step), signed32<T>(p + 2 * step), signed32<T>(p + 3 * step), true)
  if (isFloat<T>()) return i32x4.max_s(m, zeros())
  const top = i32x4.shr_s(i16x8.max_s(m, i32x4.shl(m, 16)), 16)
  return i32x4.shl(i32x4.max_s(top, zeros()), places<T>())
}

/** Largest magnitude among the negative numbers of four blocks, shifted; 0 where there is none. */
// @ts-ignore: decorator
@inline
export function negatives4<T>(p: usize): v128 {
  const step = 32 * sizeof<T>()
  const m = meet<T>(
    unsigned32<T>(p),
    unsigned32<T>(p + step),
    unsigned32<T>(p + 2 * step),
    unsigned32<T>(p + 3 * step),
    false
  )
  const top = isFloat<T>() ? m : i16x8.max_u(m, i32x4.shl(m, 16))
  // the sign bit, spread, keeps what is below zero
  const below = v128.and(v128.and(top, i32x4.shr_s(top, 31)), i32x4.splat(0x7fffffff))
  return isFloat<T>() ? below : i32x4.shl(i32x4.shr_u(below, 16), places<T>())
}

/** Is the first of 32 numbers with this magnitude (bits without the sign) below zero? */
export function firstIsNegative<T>(p: usize, bits: u32): bool {
  for (let i = 0; i < 32; i++, p += sizeof<T>()) {
    if (magnitude<T>(p) == bits) return isNegative<T>(p)
  }
  return false
}
