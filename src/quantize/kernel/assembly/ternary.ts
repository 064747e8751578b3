// GGUF's blocks of 256 ternary digits → 4-bit codes 7, 8, 9. `count` blocks, one after the other.
// Layouts: src/quantize/format/gguf/ternary.ts.
import { evenBytes, every } from "./constants"
import { crumbs, evens, odds } from "./emit"

// The first digit of each byte, 7 more: base 3, most significant first, of a fraction of 256.
// @ts-ignore: decorator
@inline
function digits(v: v128): v128 {
  return i8x16.sub(i8x16.sub(every(7), i8x16.ge_u(v, every(86))), i8x16.ge_u(v, every(171)))
}

// The first digits of bytes 0, 2, 4 … and 1, 3, 5 … of 32.
// @ts-ignore: decorator
@inline
function digits32(even: v128, odd: v128): v128 {
  return v128.or(digits(even), i16x8.shl(digits(odd), 4))
}

// The first digits of 32 bytes, in order.
// @ts-ignore: decorator
@inline
function storeDigits(codes: usize, a: v128, b: v128): void {
  v128.store(codes, digits32(evens(a, b), odds(a, b)))
}

// The wrapping product takes the first digit off.
// @ts-ignore: decorator
@inline
function next(v: v128): v128 {
  return i8x16.add(v, i8x16.add(v, v))
}

const POWERS = memory.data<u16>([1, 1, 1, 1, 3, 3, 3, 3, 9, 9, 9, 9, 27, 27, 27, 27], 16)

// Four bytes, then the same without their first digit, their first two, three.
// @ts-ignore: decorator
@inline
function fours(src: usize): v128 {
  const bytes = i16x8.extend_low_i8x16_u(v128.load32_splat(src))
  return i8x16.narrow_i16x8_u(
    v128.and(i16x8.mul(bytes, v128.load(POWERS)), evenBytes()),
    v128.and(i16x8.mul(bytes, v128.load(POWERS, 16)), evenBytes())
  )
}

/** 48 bytes of five digits @0, 4 bytes of four @48, d f16 @52. */
export function recode_TQ1_0(src: usize, count: i32, codes: usize, scales: usize, _: usize): void {
  for (let b = 0; b < count; b++, src += 54, scales += 2, codes += 48) {
    store<u16>(scales, load<u16>(src, 52))
    const low = v128.load(src), high = v128.load(src, 16)
    let even = evens(low, high), odd = odds(low, high)
    for (let n = 0; n < 5; n++, codes += 16) {
      v128.store(codes, digits32(even, odd))
      even = next(even)
      odd = next(odd)
    }
    const one = v128.load(src, 32), two = next(one), three = next(two), four = next(three), five = next(four)
    storeDigits(codes, one, two)
    storeDigits(codes + 16, three, four)
    storeDigits(codes + 32, five, fours(src + 48))
  }
}

/** 64 bytes of 2-bit digits @0, d f16 @64. */
export function recode_TQ2_0(src: usize, count: i32, codes: usize, scales: usize, _: usize): void {
  for (let b = 0; b < count; b++, src += 66, scales += 2) {
    store<u16>(scales, load<u16>(src, 64))
    for (let h: usize = 0; h < 64; h += 32, codes += 64) crumbs(src + h, codes, 0x77)
  }
}
