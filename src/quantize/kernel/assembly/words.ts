// Codes that other tools packed into words of 32 bits, put where we have them. Places of matrices of words: `stride` words from
// one row to the next.

// Words of a cache line: as many are used of each that is read, before the next.
const LINE = 16

/** `[height × count]` words → `[count × height]` words. */
export function transpose_words(src: usize, stride: i32, height: i32, count: i32, to: usize): void {
  const step = <usize>stride << 2, out = <usize>height << 2
  const wholeRows = height & ~3, wholeColumns = count & ~3
  for (let line = 0; line < wholeColumns; line += LINE) {
    const end = min(line + LINE, wholeColumns)
    for (let row = 0; row < wholeRows; row += 4) {
      for (let left = line; left < end; left += 4) {
        const p = src + <usize>row * step + (<usize>left << 2), q = to + <usize>left * out + (<usize>row << 2)
        const a = v128.load(p), b = v128.load(p + step), c = v128.load(p + 2 * step), d = v128.load(p + 3 * step)
        const ab = v128.shuffle<u32>(a, b, 0, 4, 1, 5), cd = v128.shuffle<u32>(c, d, 0, 4, 1, 5)
        const AB = v128.shuffle<u32>(a, b, 2, 6, 3, 7), CD = v128.shuffle<u32>(c, d, 2, 6, 3, 7)
        v128.store(q, v128.shuffle<u64>(ab, cd, 0, 2))
        v128.store(q + out, v128.shuffle<u64>(ab, cd, 1, 3))
        v128.store(q + 2 * out, v128.shuffle<u64>(AB, CD, 0, 2))
        v128.store(q + 3 * out, v128.shuffle<u64>(AB, CD, 1, 3))
      }
    }
  }
  for (let column = 0; column < count; column++) {
    for (let row = column < wholeColumns ? wholeRows : 0; row < height; row++) {
      store<u32>(to + <usize>column * out + (<usize>row << 2), load<u32>(src + <usize>row * step + (<usize>column << 2)))
    }
  }
}

// What differs between the nibbles of two words that are to be exchanged.
// @ts-ignore: decorator
@inline
function difference(low: v128, high: v128, shift: i32, mask: v128): v128 {
  return v128.and(v128.xor(i32x4.shr_u(low, shift), high), mask)
}

const TILE = memory.data(128, 16)

// @ts-ignore: decorator
@inline
function exchange(a: usize, b: usize, shift: i32, mask: v128): void {
  const low = v128.load(TILE + (a << 4)), high = v128.load(TILE + (b << 4))
  const d = difference(low, high, shift, mask)
  v128.store(TILE + (a << 4), v128.xor(low, i32x4.shl(d, shift)))
  v128.store(TILE + (b << 4), v128.xor(high, d))
}

// Where AutoAWQ has row i of eight.
const NIBBLES = memory.data<u8>([0, 4, 1, 5, 2, 6, 3, 7])

// Eight words of each of four rows of words, exchanged: nibble j of word i is nibble i of word j.
// @ts-ignore: decorator
@inline
function exchangeAll(): void {
  const halves = i32x4.splat(0xffff), bytes = i32x4.splat(0x00ff00ff), nibbles = i32x4.splat(0x0f0f0f0f)
  exchange(0, 4, 16, halves)
  exchange(1, 5, 16, halves)
  exchange(2, 6, 16, halves)
  exchange(3, 7, 16, halves)
  exchange(0, 2, 8, bytes)
  exchange(1, 3, 8, bytes)
  exchange(4, 6, 8, bytes)
  exchange(5, 7, 8, bytes)
  exchange(0, 1, 4, nibbles)
  exchange(2, 3, 4, nibbles)
  exchange(4, 5, 4, nibbles)
  exchange(6, 7, 4, nibbles)
}

/**
 * AutoAWQ's codes, `[columns × …]` words of eight rows, → `[count × ceil(columns/8)]` words of eight columns, for rows `skip` … of the
 * words. Four words at a time; up to three behind the last are read.
 */
export function untangle_words(src: usize, stride: i32, columns: i32, skip: i32, count: i32, to: usize): void {
  const rowWords = (columns + 7) >> 3, words = (skip + count + 7) >> 3
  const step = <usize>stride << 2, out = <usize>rowWords << 2
  for (let line = 0; line < words; line += LINE) {
    const end = min(line + LINE, words)
    for (let w = 0; w < rowWords; w++) {
      for (let word = line; word < end; word += 4) {
        for (let i = 0; i < 8; i++) {
          const column = (w << 3) + i
          const at = src + <usize>column * step + (<usize>word << 2)
          v128.store(TILE + (<usize>i << 4), column < columns ? v128.load(at) : i32x4.splat(0))
        }
        exchangeAll()
        const first = (word << 3) - skip
        const q = to + <usize>first * out + (<usize>w << 2)
        for (let i = 0; i < 8; i++) {
          const v = v128.load(TILE + (<usize>load<u8>(NIBBLES + i) << 4))
          const row = first + i, p = q + <usize>i * out
          if (row >= 0 && row < count) v128.store32_lane(p, v, 0)
          if (row + 8 < count) v128.store32_lane(p + 8 * out, v, 1)
          if (row + 16 < count) v128.store32_lane(p + 16 * out, v, 2)
          if (row + 24 < count) v128.store32_lane(p + 24 * out, v, 3)
        }
      }
    }
  }
}

/** Code `order[i]` of a row of 4-bit codes → code i, for `count` codes, an even number. */
export function gather_nibbles(src: usize, order: usize, count: i32, to: usize): void {
  for (let i = 0; i < count; i += 2, order += 8) {
    const a = load<u32>(order), b = load<u32>(order, 4)
    const low = load<u8>(src + (a >> 1)) >> (<u8>(a & 1) << 2) & 15
    const high = load<u8>(src + (b >> 1)) >> (<u8>(b & 1) << 2)
    store<u8>(to + (i >> 1), low | high << 4)
  }
}
