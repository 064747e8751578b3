import { awqNibbles } from "../../format/quantized/integers.ts"
import { sidesOf } from "../../format/quantized/Layout.ts"
import type { Source } from "./Rows.ts"
import { Stripe } from "./Stripe.ts"

/** Reads what a format stores into `[count × …]` rows of unsigned codes, columns in their order, words or bytes whole. */
export interface Stored {
  /** bytes of the buffers that `read` gets */
  readonly sizes: ReadonlyArray<number>
  /** bytes of a row */
  readonly rowBytes: number
  /** rows `first` … to address `to` */
  readonly read: (buffers: ReadonlyArray<number>, first: number, count: number, to: number) => void
}

/** Reads scales or zero points of rows `first` …; then a value by row (from `first`) and group. */
export interface Aside {
  readonly sizes: ReadonlyArray<number>
  readonly read: (
    buffers: ReadonlyArray<number>,
    first: number,
    count: number
  ) => (row: number, group: number) => number
}

/** Words of a worker's memory; valid until the next buffers are placed. */
export const wordsOf = ({ instance }: Source): Uint32Array => new Uint32Array(instance.exports.memory.buffer)

/** Codes, row after row. */
export const rowCodes = (source: Source): Stored => {
  const { bits, columns } = sidesOf(source.tensor)
  const isInt8 = source.coded.format === "int8"
  const rowBytes = isInt8 ? columns : Math.ceil(columns * bits / 32) * 4
  const read = source.piece(isInt8 ? "codes" : "packed")
  return {
    sizes: [],
    rowBytes,
    read: (_, first, count, to) => {
      read(to, first * rowBytes, count * rowBytes)
      if (!isInt8) return
      // i8 → u8; regions begin at words, and what follows the last row is written afterwards
      const words = wordsOf(source)
      const end = Math.ceil((to + count * rowBytes) / 4)
      for (let i = to / 4; i < end; i++) words[i] = (words[i] ?? 0) ^ 0x80808080
    }
  }
}

/** AutoGPTQ's codes: words of columns, rows side by side. */
export const gptqCodes = (source: Source): Stored => {
  const { bits, columns, rows } = sidesOf(source.tensor)
  const height = Math.ceil(columns * bits / 32)
  const stripe = new Stripe(height, rows, 4, source.most)
  const read = source.piece("packed")
  return {
    sizes: [stripe.bytes],
    rowBytes: height * 4,
    read: ([buffer = 0], first, count, to) => {
      const { at, stride } = stripe.load(read, buffer, first, count)
      source.instance.exports.transpose_words(at, stride, height, count, to)
    }
  }
}

/** AutoAWQ's codes: words of rows. */
export const awqCodes = (source: Source): Stored => {
  const { columns, rows } = sidesOf(source.tensor)
  const stripe = new Stripe(columns, rows / 8, 4, Math.ceil(source.most / 8) + 1)
  const read = source.piece("packed")
  return {
    // the kernel reads up to three words more
    sizes: [stripe.bytes + 12],
    rowBytes: Math.ceil(columns / 8) * 4,
    read: ([buffer = 0], first, count, to) => {
      const word = Math.floor(first / 8), skip = first - word * 8
      const { at, stride } = stripe.load(read, buffer, word, Math.ceil((skip + count) / 8))
      source.instance.exports.untangle_words(at, stride, columns, skip, count, to)
    }
  }
}

/** Scales as bits, `[rows × groups]` or one for all. */
export const rowScales = (source: Source, width: 1 | 2 | 4): Aside => {
  const { scales } = sidesOf(source.tensor)
  const read = source.piece("scale")
  return {
    sizes: [Math.max(1, source.most * scales) * width],
    read: ([at = 0], first, count) => {
      read(at, first * scales * width, Math.max(1, count * scales) * width)
      const values = elements(source, width)
      return (row, group) => values[at / width + row * scales + (scales === 0 ? 0 : group)] ?? 0
    }
  }
}

/** Scales as bits, `[groups × rows]`. */
export const groupScales = (source: Source, width: 2 | 4): Aside => {
  const { groups, rows } = sidesOf(source.tensor)
  const stripe = new Stripe(groups, rows, width, source.most)
  const read = source.piece("scale")
  return {
    sizes: [stripe.bytes],
    read: ([buffer = 0], first, count) => {
      const { at, stride } = stripe.load(read, buffer, first, count)
      const values = elements(source, width)
      return (row, group) => values[at / width + group * stride + row] ?? 0
    }
  }
}

const elements = ({ instance }: Source, width: 1 | 2 | 4) => {
  const { buffer } = instance.exports.memory
  return width === 1 ? new Uint8Array(buffer) : width === 2 ? new Uint16Array(buffer) : new Uint32Array(buffer)
}

/** compressed-tensors' packed zero points: words of rows, groups side by side. */
export const packedZeros = (source: Source): Aside => {
  const { bits, groups } = sidesOf(source.tensor)
  const each = 32 / bits, mask = 2 ** bits - 1
  const read = source.piece("zero_point")
  return {
    sizes: [(Math.ceil(source.most / each) + 1) * groups * 4],
    read: ([at = 0], first, count) => {
      const word = Math.floor(first / each), skip = first - word * each
      read(at, word * groups * 4, Math.ceil((skip + count) / each) * groups * 4)
      const words = wordsOf(source)
      return (row, group) => {
        const place = skip + row
        return ((words[at / 4 + Math.floor(place / each) * groups + group] ?? 0) >>> (place % each * bits)) & mask
      }
    }
  }
}

/** i8 zero points, laid out as the scales. */
export const int8Zeros = (source: Source): Aside => {
  const { scales } = sidesOf(source.tensor)
  const read = source.piece("zero_point")
  return {
    sizes: [Math.max(1, source.most * scales)],
    read: ([at = 0], first, count) => {
      read(at, first * scales, Math.max(1, count * scales))
      const bytes = source.instance.bytes
      return (row, group) => (bytes[at + row * scales + (scales === 0 ? 0 : group)] ?? 0) ^ 0x80
    }
  }
}

/** AutoGPTQ's (version 1: less one) and AutoAWQ's (interleaved) zero points: `[groups × …]` words of rows. */
export const groupZeros = (source: Source): Aside => {
  const { bits, groups, rows } = sidesOf(source.tensor)
  const each = 32 / bits, mask = 2 ** bits - 1
  const added = source.coded.format === "gptq" ? 1 : 0
  const nibbles = source.coded.format === "awq" ? awqNibbles : Array.from({ length: each }, (_, i) => i)
  const stripe = new Stripe(groups, Math.ceil(rows / each), 4, Math.ceil(source.most / each) + 1)
  const read = source.piece("zero_point")
  return {
    sizes: [stripe.bytes],
    read: ([buffer = 0], first, count) => {
      const word = Math.floor(first / each), skip = first - word * each
      const { at, stride } = stripe.load(read, buffer, word, Math.ceil((skip + count) / each))
      const words = wordsOf(source)
      return (row, group) => {
        const place = skip + row
        const bitsOf = words[at / 4 + group * stride + Math.floor(place / each)] ?? 0
        return ((bitsOf >>> ((nibbles[place % each] ?? 0) * bits)) + added) & mask
      }
    }
  }
}
