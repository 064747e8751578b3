// GGUF's blocks whose 4-bit codes point into a table of 16 levels → the levels, around 128. `count` blocks, one after the other.
// Layouts: src/quantize/format/gguf/book.ts.
import { every } from "./constants"
import { down, scale8, store32 } from "./emit"
import { half } from "./numbers"

// -127 -104 -83 -65 -49 -35 -22 -10 1 13 25 38 53 69 89 113
const LEVELS = memory.data<u8>([1, 24, 45, 63, 79, 93, 106, 118, 129, 141, 153, 166, 181, 197, 217, 241], 16)
// 0 1 2 3 4 6 8 12, then the same below zero
const FLOATS = memory.data<u8>([128, 129, 130, 131, 132, 134, 136, 140, 128, 127, 126, 125, 124, 122, 120, 116], 16)

// 16 bytes: low nibbles are codes 0…15, high nibbles 16…31
// @ts-ignore: decorator
@inline
function look(table: v128, src: usize, codes: usize): void {
  const q = v128.load(src)
  store32(codes, i8x16.swizzle(table, v128.and(q, i8x16.splat(15))), i8x16.swizzle(table, i8x16.shr_u(q, 4)))
}

/** d f16 @0, 16 bytes @2. */
export function recode_IQ4_NL(src: usize, count: i32, codes: usize, scales: usize, _: usize): void {
  const table = v128.load(LEVELS)
  for (let b = 0; b < count; b++, src += 18, codes += 32, scales += 2) {
    store<u16>(scales, load<u16>(src))
    look(table, src + 2, codes)
  }
}

// What moves two bits, others in each lane, to the top.
const TOPS = memory.data<u16>([0x4000, 0x1000, 0x400, 0x100, 0x40, 0x10, 4, 1], 16)

// Scales of IQ4_XS as i16: a u16 of the top two bits, four bytes of nibbles.
// @ts-ignore: decorator
@inline
function sixBits(src: usize): v128 {
  const bytes = i32x4.extend_low_i16x8_u(i16x8.extend_low_i8x16_u(v128.load32_zero(src, 2)))
  const low = v128.and(v128.or(bytes, i32x4.shl(bytes, 12)), every(15))
  const top = down(i16x8.mul(v128.load16_splat(src), v128.load(TOPS)), 10, 0x30)
  return i16x8.sub(v128.or(low, top), i16x8.splat(32))
}

/** d f16 @0, top bits of the eight scales u16 @2, their low nibbles @4, 128 bytes @8. */
export function recode_IQ4_XS(src: usize, count: i32, codes: usize, scales: usize, _: usize): void {
  const table = v128.load(LEVELS)
  for (let b = 0; b < count; b++, src += 136, scales += 32) {
    scale8(scales, f32x4.splat(half(src)), sixBits(src + 2))
    for (let p: usize = src + 8; p < src + 136; p += 16, codes += 32) look(table, p, codes)
  }
}

/** Exponent @0, 16 bytes @1. The scale is 2^(exponent - 128): half the usual one, levels are twice theirs. */
export function recode_MXFP4(src: usize, count: i32, codes: usize, scales: usize, _: usize): void {
  const table = v128.load(FLOATS)
  for (let b = 0; b < count; b++, src += 17, codes += 32, scales += 4) {
    const e = <u32>load<u8>(src)
    store<u32>(scales, e < 2 ? 0x00200000 << e : (e - 1) << 23)
    look(table, src + 1, codes)
  }
}
