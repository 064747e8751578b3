// Codes and scales as they are written: codes one a byte, or two, the first in the low nibble.
import { evenBytes, every } from "./constants"

/** Bytes shifted down. Lanes of 16 bits are shifted, as those of 8 are emulated; `mask` takes off what comes from the next byte. */
// @ts-ignore: decorator
@inline
export function down(v: v128, shift: i32, mask: u8): v128 {
  return v128.and(i16x8.shr_u(v, shift), every(mask))
}

/** Bytes shifted up. */
// @ts-ignore: decorator
@inline
export function up(v: v128, shift: i32, mask: u8): v128 {
  return v128.and(i16x8.shl(v, shift), every(mask))
}

/** Bytes 0, 2, 4 … of 32. */
// @ts-ignore: decorator
@inline
export function evens(a: v128, b: v128): v128 {
  return i8x16.narrow_i16x8_u(v128.and(a, evenBytes()), v128.and(b, evenBytes()))
}

/** Bytes 1, 3, 5 … of 32. */
// @ts-ignore: decorator
@inline
export function odds(a: v128, b: v128): v128 {
  return i8x16.narrow_i16x8_u(i16x8.shr_u(a, 8), i16x8.shr_u(b, 8))
}

/** Low nibbles of 32 bytes → 16 bytes. */
// @ts-ignore: decorator
@inline
export function lowNibbles(even: v128, odd: v128): v128 {
  return v128.or(v128.and(even, every(0x0f)), up(odd, 4, 0xf0))
}

/** High nibbles of 32 bytes → 16 bytes. */
// @ts-ignore: decorator
@inline
export function highNibbles(even: v128, odd: v128): v128 {
  return v128.or(down(even, 4, 0x0f), v128.and(odd, every(0xf0)))
}

/** 32 codes, in the low nibbles of 16 bytes, then in the high ones → 16 bytes. */
// @ts-ignore: decorator
@inline
export function pairUp(q: v128): v128 {
  const even = v128.and(q, evenBytes()), odd = i16x8.shr_u(q, 8)
  return i8x16.narrow_i16x8_u(lowNibbles(even, odd), highNibbles(even, odd))
}

/** 32 codes, one a byte. */
// @ts-ignore: decorator
@inline
export function store32(to: usize, a: v128, b: v128): void {
  v128.store(to, a)
  v128.store(to, b, 16)
}

/** d · q for eight i16. */
// @ts-ignore: decorator
@inline
export function scale8(to: usize, d: v128, q: v128): void {
  v128.store(to, f32x4.mul(d, f32x4.convert_i32x4_s(i32x4.extend_low_i16x8_s(q))))
  v128.store(to, f32x4.mul(d, f32x4.convert_i32x4_s(i32x4.extend_high_i16x8_s(q))), 16)
}

/** d · q for 16 i8. */
// @ts-ignore: decorator
@inline
export function scale16(to: usize, d: v128, q: v128): void {
  scale8(to, d, i16x8.extend_low_i8x16_s(q))
  scale8(to + 32, d, i16x8.extend_high_i8x16_s(q))
}

/** 2-bit codes of 128 numbers in 32 bytes, 32 numbers for each two bits → 64 bytes; `bias` is added to both nibbles. */
// @ts-ignore: decorator
@inline
export function crumbs(src: usize, codes: usize, bias: u8): void {
  const a = v128.load(src), b = v128.load(src, 16), even = evens(a, b), odd = odds(a, b)
  const low = lowNibbles(even, odd), high = highNibbles(even, odd)
  v128.store(codes, i8x16.add(v128.and(low, every(0x33)), every(bias)))
  v128.store(codes, i8x16.add(down(low, 2, 0x33), every(bias)), 16)
  v128.store(codes, i8x16.add(v128.and(high, every(0x33)), every(bias)), 32)
  v128.store(codes, i8x16.add(down(high, 2, 0x33), every(bias)), 48)
}
