// GGUF's blocks of 256 with scales of their own for each 16 or 32 numbers → codes, scales (d · sub-scale, f32), minima.
// `count` blocks, one after the other. Layouts: src/quantize/format/gguf/k.ts.
import { pack32, store32 } from "./emit"
import { half } from "./numbers"

// @ts-ignore: decorator
@inline
function bits(v: v128, shift: i32, mask: i8): v128 {
  return v128.and(i8x16.shr_u(v, shift), i8x16.splat(mask))
}

/** 16 scale bytes @0, 64 bytes of 2-bit codes @16, d f16 @80, dmin f16 @82. */
export function recode_Q2_K(src: usize, count: i32, codes: usize, scales: usize, minimum: usize): void {
  for (let b = 0; b < count; b++, src += 84) {
    const d = half(src + 80), dmin = half(src + 82)
    for (let s: usize = 0; s < 16; s++, scales += 4, minimum += 4) {
      const both = load<u8>(src + s)
      store<f32>(scales, d * <f32>(both & 15))
      store<f32>(minimum, -(dmin * <f32>(both >> 4)))
    }
    for (let h: usize = 0; h < 2; h++) {
      const low = v128.load(src + (h << 5), 16), high = v128.load(src + (h << 5), 32)
      for (let shift = 0; shift < 8; shift += 2, codes += 16) {
        v128.store(codes, pack32(bits(low, shift, 3), bits(high, shift, 3)))
      }
    }
  }
}

/** 32 bytes of third bits @0, 64 bytes of 2-bit codes @32, 12 bytes of scales @96, d f16 @108. */
export function recode_Q3_K(src: usize, count: i32, codes: usize, scales: usize, _: usize): void {
  for (let b = 0; b < count; b++, src += 110) {
    const d = half(src + 108), table = src + 96
    for (let s = 0; s < 16; s++, scales += 4) {
      const low = (<i32>load<u8>(table + (s & 7)) >> (s >> 3 << 2)) & 15
      const top = (<i32>load<u8>(table + 8 + (s & 3)) >> (s >> 2 << 1)) & 3
      store<f32>(scales, d * <f32>((low | top << 4) - 32))
    }
    const third = v128.load(src), more = v128.load(src, 16), four = i8x16.splat(4)
    for (let g = 0; g < 8; g++, codes += 16) {
      const from = src + (<usize>(g >> 2) << 5), shift = (g & 3) << 1
      // 4 more where the third bit is set; codes are 8 more than the levels -4…3
      const a = i8x16.shl(bits(third, g, 1), 2), c = i8x16.shl(bits(more, g, 1), 2)
      v128.store(
        codes,
        pack32(
          i8x16.add(i8x16.add(bits(v128.load(from, 32), shift, 3), a), four),
          i8x16.add(i8x16.add(bits(v128.load(from, 48), shift, 3), c), four)
        )
      )
    }
  }
}

// Scales and minima of Q4_K and Q5_K: d f16 @0, dmin f16 @2, twelve bytes @4 with 6 bits for each of eight groups.
// @ts-ignore: decorator
@inline
function groups(src: usize, scales: usize, minimum: usize): void {
  const d = half(src), dmin = half(src + 2)
  for (let s: usize = 0; s < 8; s++) {
    const at = src + 4 + s
    let scale: u32, least: u32
    if (s < 4) {
      scale = load<u8>(at) & 63
      least = load<u8>(at, 4) & 63
    } else {
      scale = (load<u8>(at, 4) & 15) | (<u32>load<u8>(at - 4) >> 6) << 4
      least = (<u32>load<u8>(at, 4) >> 4) | (<u32>load<u8>(at) >> 6) << 4
    }
    store<f32>(scales + (s << 2), d * <f32>scale)
    store<f32>(minimum + (s << 2), -(dmin * <f32>least))
  }
}

/** Scales @0, 128 bytes @16. */
export function recode_Q4_K(src: usize, count: i32, codes: usize, scales: usize, minimum: usize): void {
  for (let b = 0; b < count; b++, src += 144, scales += 32, minimum += 32) {
    groups(src, scales, minimum)
    for (let p: usize = 16; p < 144; p += 32, codes += 32) {
      const low = v128.load(src + p), high = v128.load(src + p, 16)
      v128.store(codes, pack32(bits(low, 0, 15), bits(high, 0, 15)))
      v128.store(codes, pack32(bits(low, 4, 15), bits(high, 4, 15)), 16)
    }
  }
}

/** Scales @0, 32 bytes of fifth bits @16, 128 bytes @48. */
export function recode_Q5_K(src: usize, count: i32, codes: usize, scales: usize, minimum: usize): void {
  for (let b = 0; b < count; b++, src += 176, scales += 32, minimum += 32) {
    groups(src, scales, minimum)
    const fifth = v128.load(src, 16), more = v128.load(src, 32)
    for (let s = 0; s < 8; s++, codes += 32) {
      const p = src + (<usize>(s >> 1) << 5), shift = (s & 1) << 2
      store32(
        codes,
        v128.or(bits(v128.load(p, 48), shift, 15), i8x16.shl(bits(fifth, s, 1), 4)),
        v128.or(bits(v128.load(p, 64), shift, 15), i8x16.shl(bits(more, s, 1), 4))
      )
    }
  }
}

/** 128 bytes of low nibbles @0, 64 bytes of top bits @128, 16 i8 scales @192, d f16 @208. */
export function recode_Q6_K(src: usize, count: i32, codes: usize, scales: usize, _: usize): void {
  for (let b = 0; b < count; b++, src += 210) {
    const d = half(src + 208)
    for (let s: usize = 0; s < 16; s++, scales += 4) store<f32>(scales, d * <f32>load<i8>(src + s, 192))
    for (let h: usize = 0; h < 2; h++) {
      const top = v128.load(src + (h << 5), 128), more = v128.load(src + (h << 5), 144), bias = i8x16.splat(96)
      for (let g = 0; g < 4; g++, codes += 32) {
        const p = src + (h << 6) + (<usize>(g & 1) << 5), shift = g >> 1 << 2
        // level = code - 32; stored around 128
        store32(
          codes,
          i8x16.add(v128.or(bits(v128.load(p), shift, 15), i8x16.shl(bits(top, g << 1, 3), 4)), bias),
          i8x16.add(v128.or(bits(v128.load(p, 16), shift, 15), i8x16.shl(bits(more, g << 1, 3), 4)), bias)
        )
      }
    }
  }
}
