// One scale for a row: i8 codes, bf16 scales. For embeddings.
import { inspect, sawMagnitude } from "./facts"
import { divisor, round, toBf16 } from "./rounding"
import { across, high, infinity, isNegative, larger, low, magnitude, magnitudes32, valueOf } from "./source"

const PAD = memory.data(64, 16)
const OUT = memory.data(16, 16)
// Below it the reciprocal may not be a normal number.
const SMALLEST_RECIPROCAL: f32 = reinterpret<f32>(0x0d800000) // 2^-100

// 16 numbers → 16 codes
// @ts-ignore: decorator
@inline
function codes16<T>(p: usize, by: v128): v128 {
  const q = p + 8 * sizeof<T>()
  return i8x16.narrow_i16x8_s(
    i16x8.narrow_i32x4_s(round<T>(low<T>(p), by, 0), round<T>(high<T>(p), by, 0)),
    i16x8.narrow_i32x4_s(round<T>(low<T>(q), by, 0), round<T>(high<T>(q), by, 0))
  )
}

// @ts-ignore: decorator
@inline
function row<T>(src: usize, columns: i32, codes: usize, by: v128): void {
  for (let c = 0; c < columns; c += 16, src += 16 * sizeof<T>()) {
    const left = columns - c
    let from = src
    if (left < 16) {
      memory.fill(PAD, 0, 64)
      memory.copy(PAD, src, left * sizeof<T>())
      from = PAD
    }
    const out = codes16<T>(from, by)
    if (left < 16) {
      v128.store(OUT, out)
      memory.copy(codes + c, OUT, left)
    } else v128.store(codes + c, out)
  }
}

// The rule itself, for scales whose reciprocal is not a normal number: only rows far below anything a model holds.
function rowDivided<T>(src: usize, columns: i32, codes: usize, scale: f32): void {
  for (let c = 0; c < columns; c++, src += sizeof<T>()) {
    const code = <i32>nearest(valueOf<T>(magnitude<T>(src)) / scale)
    store<i8>(codes + c, <i8>(isNegative<T>(src) ? max(-code, -128) : min(code, 127)))
  }
}

// @ts-ignore: decorator
@inline
function largest<T>(src: usize, columns: i32): u32 {
  const whole = columns & ~31
  let m = i64x2.splat(0)
  for (let c = 0; c < whole; c += 32) m = larger<T>(m, magnitudes32<T>(src + c * sizeof<T>()))
  let top = across<T>(m)
  for (let c = whole; c < columns; c++) top = max(top, magnitude<T>(src + c * sizeof<T>()))
  return top
}

// @ts-ignore: decorator
@inline
function rows<T>(src: usize, count: i32, columns: i32, codes: usize, scales: usize): void {
  for (let r = 0; r < count; r++) {
    const top = largest<T>(src, columns)
    if (top >= infinity<T>()) inspect<T>(src, columns, r * columns)
    else sawMagnitude<T>(top)
    const bits = toBf16(valueOf<T>(top) / 127)
    const scale = reinterpret<f32>(bits << 16)
    if (scale != 0 && scale < SMALLEST_RECIPROCAL) rowDivided<T>(src, columns, codes, scale)
    else row<T>(src, columns, codes, divisor<T>(scale))
    store<u16>(scales, <u16>bits)
    scales += 2
    codes += columns
    src += columns * sizeof<T>()
  }
}

/** `[rows × columns]` → i8 codes `[rows × columns]`, bf16 scales `[rows]`. */
export function rows_bf16(src: usize, count: i32, columns: i32, codes: usize, scales: usize): void {
  rows<u16>(src, count, columns, codes, scales)
}
export function rows_f16(src: usize, count: i32, columns: i32, codes: usize, scales: usize): void {
  rows<i16>(src, count, columns, codes, scales)
}
export function rows_f32(src: usize, count: i32, columns: i32, codes: usize, scales: usize): void {
  rows<f32>(src, count, columns, codes, scales)
}

/** Only looks: `count` numbers. */
// @ts-ignore: decorator
@inline
function scan<T>(src: usize, count: i32): void {
  const top = largest<T>(src, count)
  if (top >= infinity<T>()) inspect<T>(src, count, 0)
  else sawMagnitude<T>(top)
}
export function scan_bf16(src: usize, count: i32): void {
  scan<u16>(src, count)
}
export function scan_f16(src: usize, count: i32): void {
  scan<i16>(src, count)
}
export function scan_f32(src: usize, count: i32): void {
  scan<f32>(src, count)
}
