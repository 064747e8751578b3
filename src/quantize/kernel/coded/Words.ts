import type { Instance } from "../Instance.ts"

/** How a row of codes becomes ours. */
export interface Arrangement {
  readonly bits: 4 | 8
  readonly columns: number
  /** bytes of a row of ours */
  readonly padded: number
  /** which stored column each of ours is, and the address of the same as i32; undefined: columns are in order */
  readonly order: { readonly columns: Int32Array; readonly at: number } | undefined
}

const nibble = (memory: Uint8Array, from: number, column: number): number =>
  ((memory[from + (column >> 1)] ?? 0) >> ((column & 1) << 2)) & 15

/** One row: columns in their order, zero points behind the last. */
export const arrangeRow = (
  { bytes: memory, exports }: Instance,
  { bits, columns, order, padded }: Arrangement,
  from: number,
  to: number,
  zero: number
): void => {
  const whole = Math.floor(columns * bits / 8)
  if (order === undefined) memory.copyWithin(to, from, from + whole)
  else if (bits === 4) exports.gather_nibbles(from, order.at, whole * 2, to)
  else for (let i = 0; i < columns; i++) memory[to + i] = memory[from + (order.columns[i] ?? 0)] ?? 0
  memory.fill(bits === 4 ? zero * 0x11 : zero, to + whole, to + padded)
  if (bits === 4 && columns % 2 === 1) {
    memory[to + whole] = nibble(memory, from, order?.columns[columns - 1] ?? columns - 1) | zero << 4
  }
}
