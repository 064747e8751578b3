// Plain numbers: between f32 and the 16-bit formats, and what two arrays of f32 differ by.
import { sawDifference } from "./facts"
import { toF16 } from "./rounding"

/** The value of an f16, infinities and NaN included. */
// @ts-ignore: decorator
@inline
export function half(p: usize): f32 {
  const bits = <u32>load<u16>(p)
  const magnitude = (bits & 0x7c00) == 0x7c00
    ? reinterpret<f32>(0x7f800000 | (bits & 0x3ff) << 13)
    : reinterpret<f32>((bits & 0x7fff) << 13) * reinterpret<f32>(0x77800000)
  return reinterpret<f32>(reinterpret<u32>(magnitude) | (bits & 0x8000) << 16)
}

/** `count` f16 → f32. */
export function widen_f16(src: usize, count: i32, to: usize): void {
  for (let i: usize = 0; i < <usize>count; i++) store<f32>(to + (i << 2), half(src + (i << 1)))
}

/** `count` bf16 → f32. */
export function widen_bf16(src: usize, count: i32, to: usize): void {
  for (let i: usize = 0; i < <usize>count; i++) store<u32>(to + (i << 2), <u32>load<u16>(src + (i << 1)) << 16)
}

/** `count` f32 → bf16, half to even; NaN stays NaN. */
export function narrow_bf16(src: usize, count: i32, to: usize): void {
  for (let i: usize = 0; i < <usize>count; i++) {
    const bits = load<u32>(src + (i << 2))
    const rounded = (bits & 0x7fffffff) > 0x7f800000 ? bits | 0x400000 : bits + 0x7fff + ((bits >> 16) & 1)
    store<u16>(to + (i << 1), <u16>(rounded >> 16))
  }
}

/** `count` f32 → f16, half to even; from 65520 on infinity, NaN stays NaN. */
export function narrow_f16(src: usize, count: i32, to: usize): void {
  for (let i: usize = 0; i < <usize>count; i++) {
    const bits = load<u32>(src + (i << 2)), magnitude = bits & 0x7fffffff
    const rounded = magnitude > 0x7f800000 ? 0x7e00 : <u32>i32x4.extract_lane(toF16(i32x4.splat(magnitude)), 0)
    store<u16>(to + (i << 1), <u16>(rounded | (bits >> 16) & 0x8000))
  }
}

/** i8 codes `[rows × columns]`, bf16 scales `[rows]` → f32. */
export function expand_rows(rows: i32, columns: i32, codes: usize, scales: usize, to: usize): void {
  for (let r = 0; r < rows; r++, scales += 2) {
    const scale = reinterpret<f32>(<u32>load<u16>(scales) << 16)
    for (let c = 0; c < columns; c++, codes++, to += 4) store<f32>(to, <f32>load<i8>(codes) * scale)
  }
}

/** Adds `addend` to `count` f32. */
export function add(at: usize, count: i32, addend: f32): void {
  for (let i: usize = 0; i < <usize>count; i++) store<f32>(at + (i << 2), load<f32>(at + (i << 2)) + addend)
}

/** Notes the squares of `count` f32 and of what they differ from others by. Sums are f64, numbers in order, two lanes. */
export function differ(src: usize, other: usize, count: i32): void {
  let squares = f64x2.splat(0), errors = f64x2.splat(0)
  for (let i = 0; i + 1 < count; i += 2, src += 8, other += 8) {
    const x = f64x2.promote_low_f32x4(v128.load64_zero(src)), y = f64x2.promote_low_f32x4(v128.load64_zero(other))
    const d = f64x2.sub(x, y)
    squares = f64x2.add(squares, f64x2.mul(x, x))
    errors = f64x2.add(errors, f64x2.mul(d, d))
  }
  let square = f64x2.extract_lane(squares, 0) + f64x2.extract_lane(squares, 1)
  let error = f64x2.extract_lane(errors, 0) + f64x2.extract_lane(errors, 1)
  if (count & 1) {
    const x = <f64>load<f32>(src), d = x - <f64>load<f32>(other)
    square += x * x
    error += d * d
  }
  sawDifference(square, error)
}
