import { createHash } from "node:crypto"
import { writeFileSync } from "node:fs"
import { join } from "node:path"
import type { Form } from "../../../src/tensor/Coded.ts"
import { byteLength, type DType } from "../../../src/tensor/DType.ts"
import { encodeFloats } from "../../../src/tensor/Float.ts"
import type { Tensor } from "../../../src/tensor/Tensor.ts"
import { generator } from "../Reference.ts"

export const sha256 = (bytes: Uint8Array): string => createHash("sha256").update(bytes).digest("hex")

/** Bytes of numbers, little-endian. */
export const bytesOf = (values: Float32Array): Uint8Array =>
  new Uint8Array(values.buffer, values.byteOffset, values.byteLength)

/** Stored columns back to where the model has them. */
export const unordered = (values: Float32Array, columns: number, order: Int32Array): Float32Array => {
  const restored = new Float32Array(values.length)
  for (const [i, value] of values.entries()) {
    const column = i % columns
    restored[i - column + (order[column] ?? 0)] = value
  }
  return restored
}

/** Code `i` of packed codes. */
export const codeAt = (bytes: Uint8Array, bits: Form["bits"], i: number): number =>
  bits === 8 ? bytes[i] ?? 0 : ((bytes[i >> 1] ?? 0) >> (i % 2 * 4)) & 15

/** A piece to store: its dtype, shape and bytes. */
export interface Stored {
  readonly dtype: DType
  readonly shape: ReadonlyArray<number>
  readonly bytes: Uint8Array
}

/** A coded matrix whose pieces lie one after the other in a file, each beginning at an odd byte. */
export const storedPieces = (
  folder: string,
  tensor: Pick<Tensor, "dtype" | "shape"> & { readonly format: string; readonly bits: 4 | 8; readonly group: number },
  pieces: Readonly<Record<string, Stored>>,
  ordered: boolean
): Tensor => {
  const { bits, dtype, format, group, shape } = tensor
  const file = join(folder, "pieces.bin")
  const parts: Array<Uint8Array> = []
  let end = 0
  const placed = Object.entries(pieces).map(([name, piece]) => {
    const gap = new Uint8Array(1 + end % 2).fill(7)
    const offset = end + gap.length
    parts.push(gap, piece.bytes)
    end = offset + piece.bytes.length
    const range = { file, offset, length: piece.bytes.length }
    return [name, { name: `layer.${name}`, dtype: piece.dtype, shape: piece.shape, range }] as const
  })
  writeFileSync(file, Buffer.concat(parts))
  const range = placed.map(([, piece]) => piece.range).toSorted((a, b) => b.length - a.length)[0]
  if (range === undefined) throw new Error("no pieces")
  return {
    name: "layer.weight",
    dtype,
    shape,
    range,
    coded: { format, pieces: Object.fromEntries(placed), bits, group, ordered, interleavedHeads: 0, addend: 0 }
  }
}

/** Random bytes of a dtype and shape. */
export const randomPiece = (dtype: DType, shape: ReadonlyArray<number>, next: () => number): Stored => ({
  dtype,
  shape,
  bytes: Uint8Array.from(
    { length: byteLength(dtype, shape.reduce((a, b) => a * b, 1)) },
    () => Math.floor(next() * 256)
  )
})

/** A matrix to make up. */
export interface Shape {
  readonly format: string
  readonly bits: 4 | 8
  readonly rows: number
  readonly columns: number
  readonly group: number
  readonly scale?: "f16" | "bf16" | "f32"
  readonly asymmetric?: boolean
  readonly ordered?: boolean
  /** one scale in all */
  readonly single?: boolean
  readonly form?: Readonly<Record<string, unknown>>
}

const words = (count: number, bits: number): number => Math.ceil(count * bits / 32)

const scalesOf = (dtype: "f16" | "bf16" | "f32", shape: ReadonlyArray<number>, next: () => number): Stored => ({
  dtype,
  shape,
  bytes: encodeFloats(
    dtype,
    Float32Array.from({ length: shape.reduce((a, b) => a * b, 1) }, () => Math.fround(next() / 64 + 1 / 256))
  )
})

/** The matrix, with random codes and zero points. */
export const build = (path: string, of: Shape): Tensor => {
  const { asymmetric = false, bits, columns, format, group, ordered = false, rows, scale = "bf16", single } = of
  const next = generator(rows + columns)
  const groups = columns / group
  const index = Int32Array.from({ length: columns }, (_, i) => Math.floor(i / group))
  // a column order that keeps no run together
  const shuffled = index.map((_, i) => index[(i * 7 + 3) % columns] ?? 0)
  const legacy = format.startsWith("gptq") || format === "awq"
  const packedShape = format === "awq"
    ? [columns, words(rows, bits)]
    : legacy
    ? [words(columns, bits), rows]
    : [rows, words(columns, bits)]
  const pieces: Record<string, Stored> = {
    ...format === "int8"
      ? { codes: randomPiece("i8", [rows, columns], next) }
      : { packed: randomPiece("i32", packedShape, next) },
    scale: scalesOf(scale, single === true ? [1] : legacy ? [groups, rows] : [rows, groups], next)
  }
  if (legacy) pieces["zero_point"] = randomPiece("i32", [groups, words(rows, bits)], next)
  else if (asymmetric) {
    pieces["zero_point"] = format === "int8"
      ? randomPiece("i8", [rows, groups], next)
      : randomPiece("i32", [words(rows, bits), groups], next)
  }
  if (ordered) pieces["g_idx"] = { dtype: "i32", shape: [columns], bytes: new Uint8Array(shuffled.buffer) }
  return storedPieces(path, { dtype: "f32", shape: [rows, columns], format, bits, group }, pieces, ordered)
}
