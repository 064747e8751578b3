// Runs over words in a worker's memory, in JavaScript: V8 does some 10^9 codes/s here, more than files deliver.
import { awqNibbles } from "../../format/quantized/integers.ts"
import type { Loaded } from "./Stripe.ts"

/** Rows and columns of a tile that stays in the first cache. */
const TILE = 16

/** `[height × count]` words, loaded, → `[count × height]` words at `to`: codes that lie along the height lie along rows then. */
export const transposeWords = (memory: Uint32Array, from: Loaded, height: number, count: number, to: number): void => {
  const source = from.at / 4, target = to / 4
  for (let top = 0; top < height; top += TILE) {
    const bottom = Math.min(height, top + TILE)
    for (let left = 0; left < count; left += TILE) {
      const right = Math.min(count, left + TILE)
      for (let column = left; column < right; column++) {
        for (let row = top; row < bottom; row++) {
          memory[target + column * height + row] = memory[source + row * from.stride + column] ?? 0
        }
      }
    }
  }
}

const tile = new Uint32Array(8)

/** Exchanges nibble j of word i and nibble i of word j: `shift` and `mask` say which halves of pairs `step` apart. */
const exchange = (step: 1 | 2 | 4, mask: number): void => {
  const shift = step * 4
  for (let i = 0; i < 8; i++) {
    if ((i & step) !== 0) continue
    const low = tile[i] ?? 0, high = tile[i + step] ?? 0
    const difference = ((low >>> shift) ^ high) & mask
    tile[i] = low ^ (difference << shift)
    tile[i + step] = high ^ difference
  }
}

/**
 * AutoAWQ's codes, `[columns × …]` words of eight rows, → `[count × rowWords]` words of eight columns at `to`, for rows `skip` … of
 * the loaded words.
 */
export const untangle = (
  memory: Uint32Array,
  from: Loaded,
  columns: number,
  skip: number,
  count: number,
  to: number
): void => {
  const source = from.at / 4, rowWords = Math.ceil(columns / 8)
  for (let word = 0; word * 8 < skip + count; word++) {
    for (let w = 0; w < rowWords; w++) {
      for (let i = 0; i < 8; i++) {
        const column = w * 8 + i
        tile[i] = column < columns ? memory[source + column * from.stride + word] ?? 0 : 0
      }
      exchange(4, 0x0000ffff)
      exchange(2, 0x00ff00ff)
      exchange(1, 0x0f0f0f0f)
      for (let i = 0; i < 8; i++) {
        const row = word * 8 + i - skip
        if (row >= 0 && row < count) memory[to / 4 + row * rowWords + w] = tile[awqNibbles[i] ?? 0] ?? 0
      }
    }
  }
}

/** How rows of codes become ours. */
export interface Arrangement {
  readonly bits: 4 | 8
  readonly columns: number
  /** bytes of a stored row and of a row of ours */
  readonly stored: number
  readonly padded: number
  /** which stored column each of ours is; undefined: the same */
  readonly order: Int32Array | undefined
}

/** One row: columns in their order, zero points behind the last. */
export const arrangeRow = (
  memory: Uint8Array,
  { bits, columns, order, padded }: Arrangement,
  from: number,
  to: number,
  zero: number
): void => {
  const whole = Math.floor(columns * bits / 8)
  if (order === undefined) memory.copyWithin(to, from, from + whole)
  else if (bits === 8) { for (let i = 0; i < columns; i++) memory[to + i] = memory[from + (order[i] ?? 0)] ?? 0 }
  else {for (let i = 0; i < whole; i++) {
      memory[to + i] = nibble(memory, from, order, 2 * i) | nibble(memory, from, order, 2 * i + 1) << 4
    }}
  memory.fill(bits === 4 ? zero * 0x11 : zero, to + whole, to + padded)
  if (bits === 4 && columns % 2 === 1) {
    const last = order === undefined ? (memory[from + whole] ?? 0) & 15 : nibble(memory, from, order, columns - 1)
    memory[to + whole] = last | zero << 4
  }
}

const nibble = (memory: Uint8Array, from: number, order: Int32Array, i: number): number => {
  const column = order[i] ?? 0
  return ((memory[from + (column >> 1)] ?? 0) >> ((column & 1) << 2)) & 15
}
