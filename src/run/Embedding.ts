// Runs in the session's thread. Rows are read by position: 14 GB/s from the page cache, and no table in memory (host-measurements §0).
import { openSync, readSync } from "node:fs"
import { fromBf16 } from "../tensor/Float.ts"
import type { Build } from "./Protocol.ts"

const widths = { bf16: 2, f16: 2, f32: 4, i8: 1 } as const satisfies Readonly<
  Record<Build["embeddings"]["dtype"], number>
>

/** Puts the row of a token into `out [hidden]`, multiplied. */
export type RowReader = (id: number, out: Float32Array) => void

/** A reader of embedding rows; throws what the system throws when the files cannot be read. */
export const rowReader = ({ embeddings, hidden }: Build): RowReader => {
  const { dtype, file, multiplier, offset, scales } = embeddings
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
    if (multiplier !== 1) { for (let i = 0; i < hidden; i++) out[i] = (out[i] ?? 0) * multiplier }
  }
}
