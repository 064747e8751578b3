import type { Form } from "../../../tensor/Coded.ts"
import { byteLength } from "../../../tensor/DType.ts"
import { decodeFloats } from "../../../tensor/Float.ts"
import type { Tensor } from "../../../tensor/Tensor.ts"

/** Sizes of a matrix that was quantised in groups along its rows. */
export interface Sides {
  readonly rows: number
  readonly columns: number
  readonly bits: 4 | 8
  /** columns of a group */
  readonly group: number
  readonly groups: number
  /** scales that are stored for a row: its groups; 0 where one is for all rows */
  readonly scales: number
}

const countOf = (tensor: Tensor | undefined): number => tensor?.shape.reduce((a, b) => a * b, 1) ?? 0

/** Sizes of a coded matrix. */
export const sidesOf = ({ coded, shape }: Tensor): Sides => {
  const [rows = 0, columns = 0] = shape
  const { bits = 4, group = columns, pieces = {} } = coded ?? {}
  const groups = columns / group
  return { rows, columns, bits, group, groups, scales: countOf(pieces["scale"]) === rows * groups ? groups : 0 }
}

/** The piece of a coded tensor. */
export const pieceOf = (tensor: Tensor, name: string): Tensor | undefined => tensor.coded?.pieces[name]

const isBlock = (size: number): boolean => size >= 16 && size <= 256 && (size & (size - 1)) === 0

/** Numbers of a row that have one scale, and more than our largest block of 256. */
const channelBlock = 128

/** Our block for a group: the group, or the largest that divides it. A row that has one scale is padded. */
const blockFor = ({ columns, group }: Sides): number =>
  isBlock(group) ? group : group === columns ? channelBlock : Math.min(256, group & -group)

/**
 * Form of integer codes. Zero points of 4 bits lie two in a byte, which rows of an odd number of blocks do not fit: these get
 * `(8 − zero) · scale` as a minimum instead, which f32 holds exactly where scales are f16 or bf16; else they have no form.
 */
export const integerForm = (tensor: Tensor): Form | undefined => {
  const form = readForm(tensor)
  if (form.zeros !== "stored" || form.bits === 8) return form
  const isOdd = Math.ceil(sidesOf(tensor).columns / form.block) % 2 === 1
  if (!isOdd) return form
  return pieceOf(tensor, "scale")?.dtype === "f32" ? undefined : { ...form, zeros: "middle", minimum: true }
}

/** Form that codes are read in where they become numbers at once: zero points as they are, a row's beginning at a byte. */
export const readForm = (tensor: Tensor): Form => {
  const sides = sidesOf(tensor)
  return {
    bits: sides.bits,
    block: blockFor(sides),
    scales: pieceOf(tensor, "scale")?.dtype === "f16" ? "f16" : "f32",
    zeros: pieceOf(tensor, "zero_point") === undefined ? "middle" : "stored",
    minimum: false,
    ordered: tensor.coded?.ordered === true
  }
}

/** Bytes of the scales. */
export const scaleBytes = (tensor: Tensor): number => {
  const { rows, scales } = sidesOf(tensor)
  const dtype = pieceOf(tensor, "scale")?.dtype ?? "f32"
  return byteLength(dtype, scales === 0 ? 1 : rows * scales)
}

/** The scale of a row's group; `byGroup`: groups are the outer dimension. */
export const scaleReader = (
  tensor: Tensor,
  bytes: Uint8Array,
  byGroup: boolean
): (row: number, group: number) => number => {
  const { groups, rows, scales } = sidesOf(tensor)
  const dtype = pieceOf(tensor, "scale")?.dtype
  if (dtype !== "f16" && dtype !== "bf16" && dtype !== "f32" && dtype !== "f8_e4m3") {
    throw new Error(`${tensor.name}: scales are ${dtype ?? "absent"}`)
  }
  const values = decodeFloats(dtype, bytes)
  return (row, group) => values[scales === 0 ? 0 : byGroup ? group * rows + row : row * groups + group] ?? NaN
}

/** The i32 group of each column; without an index, groups lie side by side. */
export const groupReader = (tensor: Tensor, index: Uint8Array | undefined): (column: number) => number => {
  const { group } = sidesOf(tensor)
  if (index === undefined) return (column) => Math.floor(column / group)
  const view = new DataView(index.buffer, index.byteOffset, index.byteLength)
  return (column) => view.getInt32(column * 4, true)
}

/** Columns sorted by their group, those of a group in their order: which column each place gets. */
export const orderOf = (groupOf: (column: number) => number, columns: number): Int32Array =>
  Int32Array.from(
    Array.from({ length: columns }, (_, column) => ({ column, group: groupOf(column) })).sort((a, b) =>
      a.group - b.group || a.column - b.column
    ),
    ({ column }) => column
  )
