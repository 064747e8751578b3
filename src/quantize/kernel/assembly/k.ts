// GGUF's blocks of 256 with scales of their own for each 16 or 32 numbers → codes, scales (d · sub-scale, f32), minima.
// `count` blocks, one after the other. Layouts: src/quantize/format/gguf/k.ts.
import { every } from "./constants"
import { crumbs, down, evens, highNibbles, lowNibbles, odds, scale16, scale8, up } from "./emit"
import { half } from "./numbers"

// A scale, four times.
// @ts-ignore: decorator
@inline
function factor(src: usize): v128 {
  return f32x4.splat(half(src))
}

// −dmin: −dmin · q has the bits of −(dmin · q)
// @ts-ignore: decorator
@inline
function minusFactor(src: usize): v128 {
  return f32x4.splat(-half(src))
}

/** 16 scale bytes @0, 64 bytes of 2-bit codes @16, d f16 @80, dmin f16 @82. */
export function recode_Q2_K(src: usize, count: i32, codes: usize, scales: usize, minimum: usize): void {
  for (let b = 0; b < count; b++, src += 84, scales += 64, minimum += 64) {
    const both = v128.load(src)
    scale16(scales, factor(src + 80), v128.and(both, every(15)))
    scale16(minimum, minusFactor(src + 82), down(both, 4, 15))
    for (let h: usize = 16; h < 80; h += 32, codes += 64) crumbs(src + h, codes, 0)
  }
}

// Third bits for 2-bit codes in nibbles, and 4 more: codes are 8 more than the levels -4…3.
// @ts-ignore: decorator
@inline
function third(codes: v128, bits: v128): v128 {
  return i8x16.add(v128.or(codes, bits), every(0x44))
}

// What moves two bits of each lane, others in each, to the top of their bytes.
const TOPS = memory.data<u32>([64, 16, 4, 1], 16)

// Scales of Q3_K, eight bytes of nibbles and four of the top two bits.
// @ts-ignore: decorator
@inline
function sixBits(src: usize): v128 {
  const nibbles = v128.load64_splat(src)
  const low = v128.shuffle<u64>(v128.and(nibbles, every(15)), down(nibbles, 4, 15), 0, 2)
  const top = i32x4.mul(v128.load32_splat(src, 8), v128.load(TOPS))
  return i8x16.sub(v128.or(low, down(top, 2, 0x30)), every(32))
}

/** 32 bytes of third bits @0, 64 bytes of 2-bit codes @32, 12 bytes of scales @96, d f16 @108. */
export function recode_Q3_K(src: usize, count: i32, codes: usize, scales: usize, _: usize): void {
  for (let b = 0; b < count; b++, src += 110, scales += 64) {
    scale16(scales, factor(src + 108), sixBits(src + 96))
    const even = evens(v128.load(src), v128.load(src, 16)), odd = odds(v128.load(src), v128.load(src, 16))
    let more = lowNibbles(even, odd)
    for (let h: usize = 0; h < 64; h += 32, codes += 64) {
      const a = v128.load(src + h, 32), c = v128.load(src + h, 48), e = evens(a, c), o = odds(a, c)
      const low = lowNibbles(e, o), high = highNibbles(e, o)
      v128.store(codes, third(v128.and(low, every(0x33)), up(more, 2, 0x44)))
      v128.store(codes, third(down(low, 2, 0x33), up(more, 1, 0x44)), 16)
      v128.store(codes, third(v128.and(high, every(0x33)), v128.and(more, every(0x44))), 32)
      v128.store(codes, third(down(high, 2, 0x33), down(more, 1, 0x44)), 48)
      more = highNibbles(even, odd)
    }
  }
}

// Scales and minima of Q4_K and Q5_K: d f16 @0, dmin f16 @2, twelve bytes @4 with 6 bits for each of eight groups: of the first
// four in words 1 and 2, of the others nibbles in word 3, whose top two bits are those of words 1 and 2.
// @ts-ignore: decorator
@inline
function groups(src: usize, scales: usize, minimum: usize): void {
  const words = v128.load(src)
  const nibbles = v128.shuffle<u32>(v128.and(words, every(15)), down(words, 4, 15), 0, 3, 7, 0)
  const last = v128.or(nibbles, down(words, 2, 0x30))
  const q = v128.shuffle<u32>(v128.and(words, every(63)), last, 1, 5, 2, 6)
  scale8(scales, factor(src), i16x8.extend_low_i8x16_s(q))
  scale8(minimum, minusFactor(src + 2), i16x8.extend_high_i8x16_s(q))
}

/** Scales @0, 128 bytes @16. */
export function recode_Q4_K(src: usize, count: i32, codes: usize, scales: usize, minimum: usize): void {
  for (let b = 0; b < count; b++, src += 144, scales += 32, minimum += 32) {
    groups(src, scales, minimum)
    for (let p: usize = 16; p < 144; p += 32, codes += 32) {
      const low = v128.load(src + p), high = v128.load(src + p, 16)
      const even = evens(low, high), odd = odds(low, high)
      v128.store(codes, lowNibbles(even, odd))
      v128.store(codes, highNibbles(even, odd), 16)
    }
  }
}

/** Scales @0, 32 bytes of fifth bits @16, 128 bytes @48. */
export function recode_Q5_K(src: usize, count: i32, codes: usize, scales: usize, minimum: usize): void {
  for (let b = 0; b < count; b++, src += 176, scales += 32, minimum += 32, codes += 256) {
    groups(src, scales, minimum)
    for (let half: usize = 0; half < 32; half += 16) {
      let fifth = v128.load(src + half, 16), to = codes + half
      for (let p: usize = src + half; p < src + half + 128; p += 32, to += 64) {
        const q = v128.load(p, 48)
        v128.store(to, v128.or(v128.and(q, every(15)), up(fifth, 4, 16)))
        v128.store(to, v128.or(down(q, 4, 15), up(fifth, 3, 16)), 32)
        fifth = i16x8.shr_u(fifth, 2)
      }
    }
  }
}

// level = code - 32; stored around 128
// @ts-ignore: decorator
@inline
function six(low: v128, top: v128): v128 {
  return i8x16.add(v128.or(low, top), every(96))
}

/** 128 bytes of low nibbles @0, 64 bytes of top bits @128, 16 i8 scales @192, d f16 @208. */
export function recode_Q6_K(src: usize, count: i32, codes: usize, scales: usize, _: usize): void {
  for (let b = 0; b < count; b++, src += 210, scales += 64, codes += 256) {
    scale16(scales, factor(src + 208), v128.load(src, 192))
    for (let i: usize = 0; i < 64; i += 16) {
      // halves of 128 numbers, each in two columns of 16 bytes
      const p = src + i + (i & 32), to = codes + i + (i & 32) * 3
      const a = v128.load(p), c = v128.load(p, 32), top = v128.load(src + i, 128)
      v128.store(to, six(v128.and(a, every(15)), up(top, 4, 0x30)))
      v128.store(to, six(v128.and(c, every(15)), up(top, 2, 0x30)), 32)
      v128.store(to, six(down(a, 4, 15), v128.and(top, every(0x30))), 64)
      v128.store(to, six(down(c, 4, 15), down(top, 2, 0x30)), 96)
    }
  }
}
