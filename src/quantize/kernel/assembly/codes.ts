// Codes in our form: `[rows × blocks · size]` of 4 bits (low nibble first) or 8, scales `[rows × blocks]` f16 or f32;
// w = (code − zero) · scale (+ minimum), each operation rounded to f32. Zero points are one for all (`zeros` = 0) or one a block,
// each row beginning at a byte. `minimum` = 0: there is none.
import { two112 } from "./constants"
import { saw, sawValue } from "./facts"
import { half } from "./numbers"

const RUN = memory.data(64, 16)

// @ts-ignore: decorator
@inline
function scaleAt(scales: usize, isHalf: bool, i: usize): f32 {
  return isHalf ? half(scales + (i << 1)) : load<f32>(scales + (i << 2))
}

// @ts-ignore: decorator
@inline
function codeAt(codes: usize, bits: i32, i: usize): i32 {
  return bits == 4 ? (<i32>load<u8>(codes + (i >> 1)) >> (<i32>(i & 1) << 2)) & 15 : <i32>load<u8>(codes + i)
}

// @ts-ignore: decorator
@inline
function zeroRow(bits: i32, blocks: i32): usize {
  return bits == 4 ? <usize>(blocks + 1) >> 1 : <usize>blocks
}

// Four scales; an f16 that is not finite becomes NaN, with which no comparison holds.
// @ts-ignore: decorator
@inline
function scales4(scales: usize, isHalf: bool, i: usize): v128 {
  if (!isHalf) return v128.load(scales + (i << 2))
  const bits = v128.load_ext<u16>(scales + (i << 1))
  const magnitude = v128.and(bits, i32x4.splat(0x7fff))
  const value = f32x4.mul(i32x4.shl(magnitude, 13), two112())
  return v128.or(v128.or(value, i32x4.shl(i32x4.shr_u(bits, 15), 31)), i32x4.ge_u(magnitude, i32x4.splat(0x7c00)))
}

/**
 * Looks for numbers that are not finite and for the largest magnitude. `low` and `high` are the smallest and the largest code that
 * the format can have: the numbers of a block lie between theirs, and a block that these prove harmless is not looked at.
 */
export function survey(
  rows: i32, columns: i32, blocks: i32, size: i32, bits: i32, codes: usize, zeros: usize, zero: i32,
  scales: usize, isHalf: bool, minimum: usize, low: i32, high: i32
): void {
  let best: f32 = 0, i: usize = 0
  const down = f32x4.splat(<f32>(low - zero)), up = f32x4.splat(<f32>(high - zero))
  for (let r = 0; r < rows; r++) {
    for (let b = 0; b < blocks; b++, i++) {
      if (zeros == 0 && b + 4 <= blocks) {
        const s = scales4(scales, isHalf, i)
        const m4 = minimum == 0 ? f32x4.splat(0) : v128.load(minimum + (i << 2))
        const one = f32x4.abs(f32x4.add(f32x4.mul(down, s), m4)), other = f32x4.abs(f32x4.add(f32x4.mul(up, s), m4))
        const so = f32x4.splat(best)
        if (i32x4.bitmask(v128.and(f32x4.le(one, so), f32x4.le(other, so))) == 15) {
          b += 3
          i += 3
          continue
        }
      }
      const z = zeros == 0 ? zero : codeAt(zeros, bits, b)
      const scale = scaleAt(scales, isHalf, i)
      const m: f32 = minimum == 0 ? 0 : load<f32>(minimum + (i << 2))
      const ends = max(abs(<f32>(low - z) * scale + m), abs(<f32>(high - z) * scale + m))
      if (ends <= best) continue
      const from = i * size, column = b * size, end = min(size, columns - column)
      for (let c = 0; c < end; c++) {
        const w = abs(<f32>(codeAt(codes, bits, from + c) - z) * scale + m)
        if (w < Infinity) best = max(best, w)
        else saw(isNaN(w), r * columns + column + c)
      }
    }
    zeros += zeros == 0 ? 0 : zeroRow(bits, blocks)
  }
  sawValue(best)
}

/** Codes → f32 `[rows × columns]`. */
export function expand(
  rows: i32, columns: i32, blocks: i32, size: i32, bits: i32, codes: usize, zeros: usize, zero: i32,
  scales: usize, isHalf: bool, minimum: usize, to: usize
): void {
  let i: usize = 0
  for (let r = 0; r < rows; r++) {
    for (let b = 0; b < blocks; b++, i++) {
      const z = i16x8.splat(<i16>(zeros == 0 ? zero : codeAt(zeros, bits, b)))
      const scale = f32x4.splat(scaleAt(scales, isHalf, i))
      const m = minimum == 0 ? f32x4.splat(0) : v128.load32_splat(minimum + (i << 2))
      const end = min(size, columns - b * size)
      for (let c = 0; c < end; c += 16) {
        const at = i * size + c
        let q: v128
        if (bits == 4) {
          const x = v128.load64_zero(codes + (at >> 1))
          const y = i8x16.shr_u(x, 4)
          q = v128.shuffle<u8>(v128.and(x, i8x16.splat(15)), y, 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23)
        } else q = v128.load(codes + at)
        const low = i16x8.sub(i16x8.extend_low_i8x16_u(q), z), high = i16x8.sub(i16x8.extend_high_i8x16_u(q), z)
        const out = end - c < 16 ? RUN : to
        store4(out, i32x4.extend_low_i16x8_s(low), scale, m, minimum == 0)
        store4(out + 16, i32x4.extend_high_i16x8_s(low), scale, m, minimum == 0)
        store4(out + 32, i32x4.extend_low_i16x8_s(high), scale, m, minimum == 0)
        store4(out + 48, i32x4.extend_high_i16x8_s(high), scale, m, minimum == 0)
        if (end - c < 16) memory.copy(to, RUN, (end - c) << 2)
        to += min(16, end - c) << 2
      }
    }
    zeros += zeros == 0 ? 0 : zeroRow(bits, blocks)
  }
}

// Without a minimum nothing is added: -0 stays.
// @ts-ignore: decorator
@inline
function store4(to: usize, q: v128, scale: v128, m: v128, isPlain: bool): void {
  const product = f32x4.mul(f32x4.convert_i32x4_s(q), scale)
  v128.store(to, isPlain ? product : f32x4.add(product, m))
}
