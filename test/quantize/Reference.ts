import type { KernelDType } from "../../src/quantize/kernel/Task.ts"
import { decodeFloats, encodeFloats, fromBf16, fromF16, toBf16, toF16 } from "../../src/tensor/Float.ts"

/** The rule, one number at a time, as design §9 says it. */
export interface Reference {
  readonly codes: ReadonlyArray<number>
  readonly scales: ReadonlyArray<number>
  readonly underflows: ReadonlyArray<number>
  readonly overflows: ReadonlyArray<number>
}

/** Half to even. */
const rint = (x: number): number => {
  const down = Math.floor(x)
  const rest = x - down
  return rest < 0.5 || (rest === 0.5 && down % 2 === 0) ? down : down + 1
}

const code = (w: number, scale: number, zero: number, low: number, high: number): number =>
  scale === 0 || !Number.isFinite(scale)
    ? zero
    : Math.min(high, Math.max(low, rint(Math.fround(w / scale)) + zero))

const firstLargest = (values: ReadonlyArray<number>): number =>
  values.reduce((best, value) => Math.abs(value) > Math.abs(best) ? value : best, 0)

/** Rows of numbers → codes one an element (padding included) and f16 scale bits. */
export const blocks = (bits: 4 | 8, rows: ReadonlyArray<ReadonlyArray<number>>): Reference => {
  const codes: Array<number> = [], scales: Array<number> = [], underflows: Array<number> = []
  const overflows: Array<number> = []
  for (const row of rows) {
    for (let at = 0; at < row.length; at += 32) {
      const block = Array.from({ length: 32 }, (_, i) => row[at + i] ?? 0)
      const largest = firstLargest(block)
      const exact = Math.fround(bits === 4 ? largest / -8 : Math.abs(largest) / 127)
      const half = toF16(exact)
      const stored = (half & 0x7fff) === 0 ? 0 : half
      if (largest !== 0 && (stored & 0x7fff) < 0x0400) underflows.push(scales.length)
      if ((stored & 0x7fff) === 0x7c00) overflows.push(scales.length)
      scales.push(stored)
      for (const w of block) codes.push(code(w, fromF16(stored), bits === 4 ? 8 : 128, 0, bits === 4 ? 15 : 255))
    }
  }
  return { codes, scales, underflows, overflows }
}

/** Rows of numbers → i8 codes and one bf16 scale a row. */
export const byRow = (rows: ReadonlyArray<ReadonlyArray<number>>): Pick<Reference, "codes" | "scales"> => {
  const scales = rows.map((row) => toBf16(Math.fround(Math.abs(firstLargest(row)) / 127)))
  return { scales, codes: rows.flatMap((row, r) => row.map((w) => code(w, fromBf16(scales[r] ?? 0), 0, -128, 127))) }
}

/** Codes two a byte, the first in the low nibble. */
export const packNibbles = (codes: ReadonlyArray<number>): Uint8Array =>
  Uint8Array.from({ length: codes.length / 2 }, (_, i) => (codes[2 * i] ?? 0) | (codes[2 * i + 1] ?? 0) << 4)

/** Numbers of a matrix, row by row. */
export const rowsOf = (
  dtype: KernelDType,
  bytes: Uint8Array,
  columns: number
): ReadonlyArray<ReadonlyArray<number>> => {
  const values = Array.from(decodeFloats(dtype, bytes))
  return Array.from({ length: values.length / columns }, (_, r) => values.slice(r * columns, (r + 1) * columns))
}

/** xorshift32: the same numbers on every machine. */
export const generator = (seed: number) => {
  let state = seed | 1
  return (): number => {
    state ^= state << 13
    state ^= state >>> 17
    state ^= state << 5
    return (state >>> 0) / 2 ** 32
  }
}

/** A matrix of numbers over `exponents` powers of two below 1, stored as `dtype`. */
export const randomMatrix = (dtype: KernelDType, count: number, seed: number, exponents = 4): Uint8Array => {
  const next = generator(seed)
  const values = Float32Array.from({ length: count }, () => (next() * 2 - 1) * 2 ** -Math.floor(next() * exponents))
  return encodeFloats(dtype, values)
}
