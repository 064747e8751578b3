import type { DType } from "./DType.ts"

/**
 * Small floats ↔ f32. Decoding is exact; encoding rounds a float32 to nearest, ties to even. Values are numbers that are
 * float32 (a double is rounded twice: `Math.fround` first). NaN stays NaN; its payload may change.
 * Source: IEEE 754 (binary16); bf16, f8_e4m3 and f8_e5m2 as in onnx and ml_dtypes 0.6, bit for bit.
 */
export type FloatDType = Extract<DType, "f32" | "f16" | "bf16" | "f8_e4m3" | "f8_e5m2">

// one number seen as a float and as its bits
const f32 = new Float32Array(1)
const bits32 = new Uint32Array(f32.buffer)
const f16 = new Float16Array(1)
const bits16 = new Uint16Array(f16.buffer)

/** bf16 bits → value. */
export const fromBf16 = (bits: number): number => {
  bits32[0] = bits << 16
  return f32[0] ?? 0
}

/** float32 value → bf16 bits. Beyond the largest bf16: infinity. */
export const toBf16 = (value: number): number => {
  f32[0] = value
  const bits = bits32[0] ?? 0
  // a NaN must not become infinity by rounding: set the quiet bit
  return value !== value ? (bits >>> 16) | 0x40 : (bits + 0x7fff + ((bits >>> 16) & 1)) >>> 16
}

/** f16 bits → value. */
export const fromF16 = (bits: number): number => {
  bits16[0] = bits
  return f16[0] ?? 0
}

/** float32 value → f16 bits. Beyond the largest f16: infinity. */
export const toF16 = (value: number): number => {
  f16[0] = value
  return bits16[0] ?? 0
}

/** Eight-bit format: bits of the fraction, exponent of the smallest normal number, largest finite code, codes beyond it. */
interface Eight {
  readonly fraction: number
  readonly minExponent: number
  readonly largest: number
  readonly overflow: number
  readonly nan: number
}

// f8_e4m3 has no infinity: what is too large becomes NaN
const e4m3: Eight = { fraction: 3, minExponent: -6, largest: 0x7e, overflow: 0x7f, nan: 0x7f }
const e5m2: Eight = { fraction: 2, minExponent: -14, largest: 0x7b, overflow: 0x7c, nan: 0x7e }

const decodeEight = ({ fraction, largest, minExponent, overflow, nan }: Eight, bits: number): number => {
  const code = bits & 0x7f
  const sign = bits >= 0x80 ? -1 : 1
  if (code > largest) return code === overflow && overflow !== nan ? sign * Infinity : NaN
  const exponent = code >>> fraction
  const unit = 2 ** (minExponent - fraction)
  const steps = code & ((1 << fraction) - 1)
  return sign * (exponent === 0 ? steps * unit : (steps + (1 << fraction)) * unit * 2 ** (exponent - 1))
}

const encodeEight = ({ fraction, largest, minExponent, nan, overflow }: Eight, value: number): number => {
  f32[0] = value
  const bits = bits32[0] ?? 0
  const sign = bits >>> 31 << 7
  if (value !== value) return sign | nan
  const exponent = Math.max(((bits >>> 23) & 0xff) - 127, minExponent)
  // exact: dividing a float32 by a power of two, in double
  const steps = Math.abs(value) / 2 ** (exponent - fraction)
  const floor = Math.floor(steps)
  const rest = steps - floor
  const rounded = rest > 0.5 || (rest === 0.5 && floor % 2 === 1) ? floor + 1 : floor
  // a carry out of the fraction goes into the exponent by itself; an infinity is larger than every code
  const code = ((exponent - minExponent) << fraction) + rounded
  return sign | (code > largest ? overflow : code)
}

/** f8_e4m3 (1-4-3, no infinity) bits → value. */
export const fromE4m3 = (bits: number): number => decodeEight(e4m3, bits)

/** float32 value → f8_e4m3 bits. Beyond 448 (after rounding): NaN. */
export const toE4m3 = (value: number): number => encodeEight(e4m3, value)

/** f8_e5m2 (1-5-2) bits → value. */
export const fromE5m2 = (bits: number): number => decodeEight(e5m2, bits)

/** float32 value → f8_e5m2 bits. Beyond 57344 (after rounding): infinity. */
export const toE5m2 = (value: number): number => encodeEight(e5m2, value)

/** Little-endian numbers of `dtype` → float32 values. The rest of an incomplete last number is ignored. */
export const decodeFloats = (dtype: FloatDType, bytes: Uint8Array): Float32Array => {
  if (dtype === "f8_e4m3" || dtype === "f8_e5m2") {
    const table = Float32Array.from({ length: 256 }, (_, code) => decodeEight(dtype === "f8_e4m3" ? e4m3 : e5m2, code))
    return Float32Array.from(bytes, (code) => table[code] ?? 0)
  }
  // a typed array needs an aligned start, which tensors in a file do not have; `slice` of a Buffer would not copy
  const size = dtype === "f32" ? 4 : 2
  const count = Math.floor(bytes.length / size)
  const aligned = bytes.byteOffset % size === 0 ? bytes : new Uint8Array(bytes)
  const { buffer, byteOffset } = aligned
  if (dtype === "f32") return new Float32Array(buffer, byteOffset, count).slice()
  if (dtype === "f16") return new Float32Array(new Float16Array(buffer, byteOffset, count))
  const codes = new Uint16Array(buffer, byteOffset, count)
  const values = new Uint32Array(count)
  for (let index = 0; index < count; index++) values[index] = (codes[index] ?? 0) << 16
  return new Float32Array(values.buffer)
}

/** float32 values → little-endian numbers of `dtype`. */
export const encodeFloats = (dtype: FloatDType, values: Float32Array): Uint8Array => {
  if (dtype === "f32") return new Uint8Array(values.slice().buffer)
  if (dtype === "f16") return new Uint8Array(new Float16Array(values).buffer)
  if (dtype === "bf16") return new Uint8Array(Uint16Array.from(values, toBf16).buffer)
  return Uint8Array.from(values, dtype === "f8_e4m3" ? toE4m3 : toE5m2)
}
