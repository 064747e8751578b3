import type { Tensor } from "../../../tensor/Tensor.ts"
import type { Format } from "../Format.ts"
import { groupReader, integerForm, pieceOf, scaleBytes, scaleReader, type Sides, sidesOf } from "./Layout.ts"

type Pieces = Readonly<Record<string, Uint8Array>>

/** Bits of a word. */
const wordBits = 32

/** Where AutoAWQ has output `i` of eight: which nibble of the word, lowest first. Source: AutoAWQ 0.2, `[0, 2, 4, 6, 1, 3, 5, 7]`. */
export const awqNibbles: ReadonlyArray<number> = [0, 4, 1, 5, 2, 6, 3, 7]

/** How a format lays out its codes and zero points; both unsigned. */
interface Layout {
  readonly name: string
  /** bytes of the codes, and of the zero points */
  readonly codes: (sides: Sides) => number
  readonly zeros: (sides: Sides) => number
  readonly piece: "packed" | "codes"
  readonly code: (bytes: DataView, sides: Sides) => (row: number, column: number) => number
  readonly zero: (bytes: DataView, sides: Sides) => (row: number, group: number) => number
  /** scales are `[groups × rows]` */
  readonly byGroup: boolean
}

/** Code `i` of a run of words, lowest bits first. */
const inWord = (bytes: DataView, bits: number, word: number, i: number): number =>
  (bytes.getUint32(word * 4, true) >>> (i * bits)) & (2 ** bits - 1)

const words = (count: number, bits: number): number => Math.ceil(count * bits / wordBits)

/** `[rows × columns]` words along the columns, zero points words along the rows. Source: compressed-tensors 0.19, `pack_to_int32`. */
const packed: Layout = {
  name: "packed",
  piece: "packed",
  codes: ({ bits, columns, rows }) => rows * words(columns, bits) * 4,
  zeros: ({ bits, groups, rows, scales }) => words(rows, bits) * (scales === 0 ? 1 : groups) * 4,
  code: (bytes, { bits, columns }) => (row, column) => {
    const each = wordBits / bits
    return inWord(bytes, bits, row * words(columns, bits) + Math.floor(column / each), column % each)
  },
  zero: (bytes, { bits, groups }) => (row, group) => {
    const each = wordBits / bits
    return inWord(bytes, bits, Math.floor(row / each) * groups + group, row % each)
  },
  byGroup: false
}

/** One i8 a number; as unsigned codes 128 more. Source: compressed-tensors 0.19, `IntQuantizationCompressor`. */
const int8: Layout = {
  name: "int8",
  piece: "codes",
  codes: ({ columns, rows }) => rows * columns,
  zeros: ({ groups, rows, scales }) => scales === 0 ? 1 : rows * groups,
  code: (bytes, { columns }) => (row, column) => bytes.getInt8(row * columns + column) + 128,
  zero: (bytes, { groups, scales }) => (row, group) => bytes.getInt8(scales === 0 ? 0 : row * groups + group) + 128,
  byGroup: false
}

/**
 * `[columns × rows]`, words along the columns; zero points `[groups × rows]`, words along the rows. Version 1 stores zero points less
 * one, and the highest code for zero, as they wrap. Source: AutoGPTQ 0.7, `QuantLinear` and exllama's `(zero + 1) & 15`.
 */
const gptq = (name: string, added: 0 | 1): Layout => ({
  name,
  piece: "packed",
  codes: ({ bits, columns, rows }) => words(columns, bits) * rows * 4,
  zeros: ({ bits, groups, rows }) => groups * words(rows, bits) * 4,
  code: (bytes, { bits, rows }) => (row, column) => {
    const each = wordBits / bits
    return inWord(bytes, bits, Math.floor(column / each) * rows + row, column % each)
  },
  zero: (bytes, { bits, rows }) => (row, group) => {
    const each = wordBits / bits
    const stored = inWord(bytes, bits, group * words(rows, bits) + Math.floor(row / each), row % each)
    return (stored + added) & (2 ** bits - 1)
  },
  byGroup: true
})

/** `[columns × rows]` and `[groups × rows]`, words along the rows, interleaved. Source: AutoAWQ 0.2, `WQLinear_GEMM`. */
const awq: Layout = {
  name: "awq",
  piece: "packed",
  codes: ({ bits, columns, rows }) => columns * words(rows, bits) * 4,
  zeros: ({ bits, groups, rows }) => groups * words(rows, bits) * 4,
  code: (bytes, { rows }) => (row, column) =>
    inWord(bytes, 4, column * words(rows, 4) + Math.floor(row / 8), awqNibbles[row % 8] ?? 0),
  zero: (bytes, { rows }) => (row, group) =>
    inWord(bytes, 4, group * words(rows, 4) + Math.floor(row / 8), awqNibbles[row % 8] ?? 0),
  byGroup: true
}

const viewOf = (bytes: Uint8Array | undefined): DataView =>
  new DataView(bytes?.buffer ?? new ArrayBuffer(0), bytes?.byteOffset ?? 0, bytes?.byteLength ?? 0)

/** `(code − zero) · scale`, in f32. */
const values = (layout: Layout, tensor: Tensor, pieces: Pieces): Float32Array => {
  const sides = sidesOf(tensor)
  const { bits, columns, rows } = sides
  const code = layout.code(viewOf(pieces[layout.piece]), sides)
  const points = pieces["zero_point"]
  const zero = points === undefined ? () => 2 ** (bits - 1) : layout.zero(viewOf(points), sides)
  const scale = scaleReader(tensor, pieces["scale"] ?? new Uint8Array(), layout.byGroup)
  const groupOf = groupReader(tensor, pieces["g_idx"])
  const numbers = new Float32Array(rows * columns)
  for (let row = 0; row < rows; row++) {
    for (let column = 0; column < columns; column++) {
      const group = groupOf(column)
      numbers[row * columns + column] = (code(row, column) - zero(row, group)) * scale(row, group)
    }
  }
  return numbers
}

const formatFor = (layout: Layout): Format => ({
  name: layout.name,
  form: integerForm,
  exact: true,
  sizes: (tensor) => {
    const sides = sidesOf(tensor)
    const isThere = (name: string) => pieceOf(tensor, name) !== undefined
    return {
      [layout.piece]: layout.codes(sides),
      scale: scaleBytes(tensor),
      ...isThere("zero_point") ? { zero_point: layout.zeros(sides) } : {},
      ...tensor.coded?.ordered === true ? { g_idx: sides.columns * 4 } : {}
    }
  },
  values: (tensor, pieces) => values(layout, tensor, pieces)
})

/** Integer codes of compressed-tensors, AutoGPTQ and AutoAWQ, all exact. */
export const integerFormats: ReadonlyArray<Format> = [packed, int8, gptq("gptq", 1), gptq("gptq_v2", 0), awq].map(
  formatFor
)
