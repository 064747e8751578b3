import { Result } from "effect"
import { closeSync, ftruncateSync, openSync, readFileSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import type { Coded, Form } from "../../src/tensor/Coded.ts"
import { decodeFloats } from "../../src/tensor/Float.ts"
import { decode } from "../../src/tensor/Npy.ts"
import type { Tensor } from "../../src/tensor/Tensor.ts"

/** A coded tensor of one piece, `blocks`, after some other bytes of a file. */
export const storedBlocks = (
  folder: string,
  format: string,
  shape: ReadonlyArray<number>,
  bytes: Uint8Array,
  changes: Partial<Coded> = {}
): Tensor => {
  const file = join(folder, "model.gguf")
  writeFileSync(file, Buffer.concat([new Uint8Array(101).fill(7), bytes]))
  const range = { file, offset: 101, length: bytes.length }
  const blocks = { name: "blk.0.ffn_down.weight", dtype: "u8", shape: [bytes.length], range } as const
  return {
    name: "down_proj.weight",
    dtype: "f32",
    shape,
    range,
    coded: {
      format,
      pieces: { blocks },
      bits: 4,
      group: 32,
      ordered: false,
      interleavedHeads: 0,
      addend: 0,
      ...changes
    }
  }
}

/** An empty file of a size. */
export const sized = (file: string, bytes: number): string => {
  const fd = openSync(file, "w")
  ftruncateSync(fd, bytes)
  closeSync(fd)
  return file
}

/** float32 numbers of an `.npy` file. */
export const readNpy = (file: string): Float32Array => {
  const bytes = readFileSync(file)
  const header = Result.getOrThrow(decode(bytes))
  return decodeFloats("f32", bytes.subarray(header.dataOffset))
}

/** Where each piece of a form is in a file of its own, 64 bytes between them, and the bytes of the file. */
export const placesOf = (form: Form, rows: number, columns: number) => {
  const blocks = Math.ceil(columns / form.block)
  const lengths = {
    codes: rows * blocks * form.block * form.bits / 8,
    scales: rows * blocks * (form.scales === "f16" ? 2 : 4),
    minimum: form.minimum ? rows * blocks * 4 : 0,
    zeros: form.zeros === "stored" ? rows * Math.ceil(blocks * form.bits / 8) : 0
  }
  const codes = 64
  const scales = codes + lengths.codes + 64
  const minimum = scales + lengths.scales + 64
  const zeros = minimum + lengths.minimum + 64
  const bytes = zeros + lengths.zeros + 64
  return { places: { codes, scales, minimum, zeros }, lengths, bytes }
}

/** The numbers that codes in a file stand for: `(code − zero) · scale + minimum`, float32, rounded after each operation. */
export const fromCodes = (form: Form, rows: number, columns: number, file: Uint8Array): Float32Array => {
  const { lengths, places } = placesOf(form, rows, columns)
  const blocks = Math.ceil(columns / form.block)
  const piece = (name: keyof typeof places) => file.subarray(places[name], places[name] + lengths[name])
  const scales = decodeFloats(form.scales, piece("scales"))
  const minimum = decodeFloats("f32", piece("minimum"))
  const at = (bytes: Uint8Array, i: number): number =>
    form.bits === 8 ? bytes[i] ?? 0 : ((bytes[i >> 1] ?? 0) >> (i % 2 * 4)) & 15
  const codes = piece("codes"), zeros = piece("zeros")
  const zeroRow = zeros.length / rows
  const zeroOf = (row: number, block: number): number =>
    form.zeros === "none"
      ? 0
      : form.zeros === "middle"
      ? 2 ** (form.bits - 1)
      : at(zeros.subarray(row * zeroRow), block)
  const values = new Float32Array(rows * columns)
  for (let row = 0; row < rows; row++) {
    for (let column = 0; column < columns; column++) {
      const inRow = Math.floor(column / form.block), block = row * blocks + inRow
      const code = at(codes, row * blocks * form.block + column)
      const product = Math.fround((code - zeroOf(row, inRow)) * (scales[block] ?? 0))
      values[row * columns + column] = form.minimum ? product + (minimum[block] ?? 0) : product
    }
  }
  return values
}

/** Bits of float32 numbers; all NaN are the same. */
export const bitsOf = (values: Float32Array): Uint32Array =>
  Uint32Array.from(
    new Uint32Array(values.buffer, values.byteOffset, values.length),
    (bits) => (bits & 0x7fffffff) > 0x7f800000 ? 0x7fc00000 : bits
  )

/** The first number that is unlike, by bits; -1 for none. */
export const firstDifference = (a: Float32Array, b: Float32Array): number => {
  const others = bitsOf(b)
  return a.length === b.length ? bitsOf(a).findIndex((bits, i) => bits !== others[i]) : 0
}
