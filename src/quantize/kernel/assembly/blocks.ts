// Blocks of 32 along a row → codes and f16 scales. A last block that is not full is filled with zeros, whose code is the
// zero point. Four blocks at a time: their scales are one vector.
import { evenBytes, largestNibble, two112 } from "./constants"
import { inspect, sawMagnitude, sawOverflow, sawUnderflow } from "./facts"
import { round, toF16 } from "./rounding"
import { firstIsNegative, high, infinity, low, negatives4, places, positives4, sizes4 } from "./source"

/** Numbers in four blocks. */
const GROUP = 128
const PAD = memory.data(512, 16)
const CODES = memory.data(128, 16)
const SCALES = memory.data(8, 16)
const SIZES = memory.data(16, 16)
const DIVISORS = memory.data(16, 16)

// 16 numbers → 16 codes, saturated to 0…255
// @ts-ignore: decorator
@inline
function codes16<T>(p: usize, by: v128, zero: i32): v128 {
  const q = p + 8 * sizeof<T>()
  return i8x16.narrow_i16x8_u(
    i16x8.narrow_i32x4_s(round<T>(low<T>(p), by, zero), round<T>(high<T>(p), by, zero)),
    i16x8.narrow_i32x4_s(round<T>(low<T>(q), by, zero), round<T>(high<T>(q), by, zero))
  )
}

// 16 codes → 8 bytes in the even lanes, low nibble first
// @ts-ignore: decorator
@inline
function nibbles(codes: v128): v128 {
  const c = v128.min<u8>(codes, largestNibble())
  return v128.and(v128.or(c, i16x8.shr_u(c, 4)), evenBytes())
}

// The number of largest magnitude of each of four blocks, the first on a tie: f32 bits (f16: times 2^-112).
// @ts-ignore: decorator
@inline
function largest<T>(src: usize): v128 {
  const positive = positives4<T>(src), negative = negatives4<T>(src)
  const sign = i32x4.shl(i32x4.gt_u(negative, positive), 31)
  const tie = i32x4.eq(positive, negative)
  store<v128>(SIZES, v128.or(i32x4.max_u(positive, negative), sign))
  if (v128.any_true(v128.and(tie, i32x4.ne(positive, i32x4.splat(0))))) {
    for (let b = 0; b < 4; b++) {
      const bits = load<u32>(SIZES + (b << 2))
      if (firstIsNegative<T>(src + b * 32 * sizeof<T>(), (bits & 0x7fffffff) >> places<T>())) {
        store<u32>(SIZES + (b << 2), bits | 0x80000000)
      }
    }
  }
  return v128.load(SIZES)
}

// The rare things about four blocks: numbers that are not finite, scales outside f16's normal numbers. Answers the finite sizes.
function note<T>(src: usize, size: v128, half: v128, block: i32, element: i32): v128 {
  store<v128>(SIZES, size)
  store<v128>(CODES, half)
  for (let b = 0; b < 4; b++) {
    const at: usize = b << 2
    const bits = load<u32>(SIZES + at), scale = load<u32>(CODES + at)
    if (bits >= infinity<T>() << places<T>()) {
      inspect<T>(src + b * 32 * sizeof<T>(), 32, element + b * 32)
      store<u32>(SIZES + at, 0)
    }
    if (bits != 0 && scale < 0x0400) sawUnderflow(block + b)
    if (scale >= 0x7c00) sawOverflow(block + b)
  }
  return v128.load(SIZES)
}

/** Four blocks. `block` and `element` are the indices of the first; answers their sizes for the largest magnitude. */
// @ts-ignore: decorator
@inline
function group<T>(bits: i32, src: usize, codes: usize, scales: usize, block: i32, element: i32): v128 {
  const signed = bits == 4 ? largest<T>(src) : sizes4<T>(src)
  let size = v128.and(signed, i32x4.splat(0x7fffffff))
  const value = isFloat<T>() || !isSigned<T>() ? size : f32x4.mul(size, two112())
  const half = toF16(bits == 4 ? f32x4.mul(value, f32x4.splat(0.125)) : f32x4.div(value, f32x4.splat(127)))
  const usable = v128.and(i32x4.gt_s(half, i32x4.splat(0)), i32x4.lt_s(half, i32x4.splat(0x7c00)))
  // int4: the scale has the other sign, so that the largest number gets code 0; a scale of zero has none
  const sign = bits == 4
    ? v128.and(v128.andnot(i32x4.splat(0x80000000), signed), i32x4.gt_s(half, i32x4.splat(0)))
    : i32x4.splat(0)
  const scale = f32x4.mul(i32x4.shl(half, 13), two112())
  // without a usable scale every code is the zero point
  const by = isFloat<T>()
    ? v128.bitselect(scale, f32x4.splat(Infinity), usable)
    : v128.and(f32x4.div(f32x4.splat(1), scale), usable)
  store<v128>(DIVISORS, v128.or(by, sign))
  const word = v128.or(half, i32x4.shr_u(sign, 16))
  v128.store64_lane(scales, i16x8.narrow_i32x4_u(word, word), 0)
  const rare = v128.or(
    v128.and(i32x4.lt_s(half, i32x4.splat(0x0400)), i32x4.gt_s(size, i32x4.splat(0))),
    v128.or(i32x4.ge_s(half, i32x4.splat(0x7c00)), i32x4.ge_s(size, i32x4.splat(infinity<T>() << places<T>())))
  )
  if (v128.any_true(rare)) size = note<T>(src, size, half, block, element)
  for (let b = 0; b < 4; b++) {
    const divisor = v128.load32_splat(DIVISORS + (b << 2))
    const next = src + 16 * sizeof<T>()
    if (bits == 4) {
      v128.store(
        codes,
        i8x16.narrow_i16x8_u(nibbles(codes16<T>(src, divisor, 8)), nibbles(codes16<T>(next, divisor, 8)))
      )
    } else {
      v128.store(codes, codes16<T>(src, divisor, 128))
      v128.store(codes, codes16<T>(next, divisor, 128), 16)
    }
    codes += bits << 2
    src += 32 * sizeof<T>()
  }
  return size
}

// @ts-ignore: decorator
@inline
function rows<T>(bits: i32, src: usize, count: i32, columns: i32, codes: usize, scales: usize): void {
  const bytes = bits << 2
  if ((columns & 31) == 0) {
    columns *= count // rows without padding are one long row
    count = 1
  }
  let block = 0, element = 0, top = i64x2.splat(0)
  for (let r = 0; r < count; r++) {
    for (let left = columns; left > 0; left -= GROUP) {
      const take = min(left, GROUP), blocks = (take + 31) >> 5, partial = left < GROUP
      let from = src
      if (partial) {
        memory.fill(PAD, 0, 512)
        memory.copy(PAD, src, take * sizeof<T>())
        from = PAD
      }
      // one call for both, so that it is compiled once
      top = i32x4.max_u(top, group<T>(bits, from, partial ? CODES : codes, partial ? SCALES : scales, block, element))
      if (partial) {
        memory.copy(codes, CODES, blocks * bytes)
        memory.copy(scales, SCALES, blocks << 1)
      }
      codes += blocks * bytes
      scales += blocks << 1
      block += blocks
      element += take
      src += take * sizeof<T>()
    }
  }
  store<v128>(SIZES, top)
  for (let b = 0; b < 4; b++) sawMagnitude<T>(load<u32>(SIZES + (b << 2)) >> places<T>())
}

/** `[rows × columns]` → u4 codes `[rows × 16·ceil(columns/32)]` bytes, f16 scales `[rows × ceil(columns/32)]`. */
export function int4_bf16(src: usize, count: i32, columns: i32, codes: usize, scales: usize): void {
  rows<u16>(4, src, count, columns, codes, scales)
}
export function int4_f16(src: usize, count: i32, columns: i32, codes: usize, scales: usize): void {
  rows<i16>(4, src, count, columns, codes, scales)
}
export function int4_f32(src: usize, count: i32, columns: i32, codes: usize, scales: usize): void {
  rows<f32>(4, src, count, columns, codes, scales)
}
/** `[rows × columns]` → u8 codes `[rows × 32·ceil(columns/32)]`, f16 scales `[rows × ceil(columns/32)]`. */
export function int8_bf16(src: usize, count: i32, columns: i32, codes: usize, scales: usize): void {
  rows<u16>(8, src, count, columns, codes, scales)
}
export function int8_f16(src: usize, count: i32, columns: i32, codes: usize, scales: usize): void {
  rows<i16>(8, src, count, columns, codes, scales)
}
export function int8_f32(src: usize, count: i32, columns: i32, codes: usize, scales: usize): void {
  rows<f32>(8, src, count, columns, codes, scales)
}
