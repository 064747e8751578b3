// Runs in the session's thread. Rows are read by position: 14 GB/s from the page cache, and no table in memory (host-measurements §0).
import { openSync, readSync } from "node:fs"
import { fromBf16 } from "../tensor/Float.ts"
import type { Build, CodedRows, NumbersAt } from "./Protocol.ts"

type PlainDType = Exclude<Build["embeddings"]["dtype"], "codes">

const widths = { bf16: 2, f16: 2, f32: 4, i8: 1 } as const satisfies Readonly<Record<PlainDType, number>>

/** Where rows are, and how long they are. */
export type Table = Pick<Build, "embeddings" | "hidden">

/** Puts the row of a token into `out [hidden]`, multiplied. */
export type RowReader = (id: number, out: Float32Array) => void

/** Rows of plain numbers, or of i8 codes with a scale each. */
const plainReader = ({ embeddings, hidden }: Table, dtype: PlainDType): RowReader => {
  const { file, offset, scales } = embeddings
  const handle = openSync(file, "r")
  const scaleHandle = scales === undefined ? undefined : openSync(scales.file, "r")
  const row = new Uint8Array(hidden * widths[dtype])
  const codes = {
    bf16: new Uint16Array(row.buffer, 0, dtype === "bf16" ? hidden : 0),
    f16: new Float16Array(row.buffer, 0, dtype === "f16" ? hidden : 0),
    f32: new Float32Array(row.buffer, 0, dtype === "f32" ? hidden : 0),
    i8: new Int8Array(row.buffer)
  }
  const scale = new Uint16Array(1)
  const scaleOf = (id: number): number => {
    if (scales === undefined || scaleHandle === undefined) return 1
    readSync(scaleHandle, scale, 0, 2, scales.offset + 2 * id)
    return fromBf16(scale[0] ?? 0)
  }
  return (id, out) => {
    const found = readSync(handle, row, 0, row.length, offset + id * row.length)
    if (found !== row.length) throw new Error(`${file} has ${found} of the ${row.length} bytes of token ${id}`)
    const source = codes[dtype]
    const factor = scaleOf(id)
    if (dtype === "bf16") { for (let i = 0; i < hidden; i++) out[i] = fromBf16(codes.bf16[i] ?? 0) }
    else for (let i = 0; i < hidden; i++) out[i] = (source[i] ?? 0) * factor
  }
}

/** Puts a token's row of a table's file into `row`. */
const bytesReader = (at: NumbersAt, row: Uint8Array) => {
  const handle = openSync(at.file, "r")
  return (id: number): void => {
    const found = readSync(handle, row, 0, row.length, at.offset + id * row.length)
    if (found !== row.length) throw new Error(`${at.file} has ${found} of the ${row.length} bytes of token ${id}`)
  }
}

/** Rows of codes, each block with its scale and, where there is one, its minimum. */
const codedReader = ({ embeddings: { file, offset }, hidden }: Table, rows: CodedRows): RowReader => {
  const { bits, block, minimum, zero } = rows
  const blocks = Math.ceil(hidden / block)
  const codes = new Uint8Array(blocks * block * bits / 8)
  const scales = rows.scales.dtype === "f16" ? new Float16Array(blocks) : new Float32Array(blocks)
  const minima = new Float32Array(blocks)
  const readers = [
    bytesReader({ file, offset }, codes),
    bytesReader(rows.scales, new Uint8Array(scales.buffer)),
    ...minimum === undefined ? [] : [bytesReader(minimum, new Uint8Array(minima.buffer))]
  ]
  const codeAt = (i: number): number =>
    bits === 8 ? codes[i] ?? 0 : i % 2 === 0 ? (codes[i >> 1] ?? 0) & 15 : (codes[i >> 1] ?? 0) >> 4
  return (id, out) => {
    for (const read of readers) read(id)
    for (let i = 0; i < hidden; i++) {
      const b = Math.floor(i / block)
      out[i] = Math.fround((codeAt(i) - zero) * (scales[b] ?? 0)) + (minima[b] ?? 0)
    }
  }
}

/** A reader of embedding rows; throws what the system throws when the files cannot be read. */
export const rowReader = (build: Table): RowReader => {
  const { codes, dtype, multiplier } = build.embeddings
  if (dtype === "codes" && codes === undefined) {
    throw new Error("the embeddings are codes, but nothing says of what form")
  }
  const read = dtype === "codes" && codes !== undefined
    ? codedReader(build, codes)
    : plainReader(build, dtype === "codes" ? "i8" : dtype)
  if (multiplier === 1) return read
  return (id, out) => {
    read(id, out)
    for (let i = 0; i < build.hidden; i++) out[i] = (out[i] ?? 0) * multiplier
  }
}
