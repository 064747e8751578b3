// GGUF's blocks of 256 ternary digits → 4-bit codes 7, 8, 9. `count` blocks, one after the other.
// Layouts: src/quantize/format/gguf/ternary.ts.
import { pack32 } from "./emit"

const DIGITS = memory.data(256, 16)

// Digit n of a byte: base 3, most significant first, of a fraction of 256; the wrapping product takes the digits before it off.
// @ts-ignore: decorator
@inline
function digit(byte: u32, power: u32): u8 {
  return <u8>((((byte * power) & 255) * 3) >> 8) + 7
}

/** 48 bytes of five digits @0, 4 bytes of four @48, d f16 @52. */
export function recode_TQ1_0(src: usize, count: i32, codes: usize, scales: usize, _: usize): void {
  for (let b = 0; b < count; b++, src += 54, scales += 2) {
    store<u16>(scales, load<u16>(src, 52))
    let power: u32 = 1
    for (let n = 0; n < 5; n++, power *= 3) {
      for (let j: usize = 0; j < 32; j++) store<u8>(DIGITS + n * 32 + j, digit(load<u8>(src + j), power))
      for (let j: usize = 0; j < 16; j++) store<u8>(DIGITS + 160 + n * 16 + j, digit(load<u8>(src + 32 + j), power))
      if (n == 4) break
      for (let j: usize = 0; j < 4; j++) store<u8>(DIGITS + 240 + n * 4 + j, digit(load<u8>(src + 48 + j), power))
    }
    for (let j: usize = 0; j < 256; j += 32, codes += 16) {
      v128.store(codes, pack32(v128.load(DIGITS + j), v128.load(DIGITS + j, 16)))
    }
  }
}

/** 64 bytes of 2-bit digits @0, d f16 @64. */
export function recode_TQ2_0(src: usize, count: i32, codes: usize, scales: usize, _: usize): void {
  const three = i8x16.splat(3), seven = i8x16.splat(7)
  for (let b = 0; b < count; b++, src += 66, scales += 2) {
    store<u16>(scales, load<u16>(src, 64))
    for (let h: usize = 0; h < 64; h += 32) {
      const low = v128.load(src + h), high = v128.load(src + h, 16)
      for (let shift = 0; shift < 8; shift += 2, codes += 16) {
        v128.store(
          codes,
          pack32(
            i8x16.add(v128.and(i8x16.shr_u(low, shift), three), seven),
            i8x16.add(v128.and(i8x16.shr_u(high, shift), three), seven)
          )
        )
      }
    }
  }
}
