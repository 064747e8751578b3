import { type Form, interleavedRow } from "../../../tensor/Coded.ts"
import type { Tensor } from "../../../tensor/Tensor.ts"
import type { Format } from "../Format.ts"

/**
 * A type of GGUF: `numbers` consecutive numbers of a row in `bytes` bytes. Source: ggml 0.25.3 and gguf-py 0.19.0, with which
 * `values` agrees in every bit: float32, rounded after each operation.
 */
export interface Block {
  /** ggml's */
  readonly name: string
  readonly numbers: number
  readonly bytes: number
  /** codes that take its numbers exactly, and the smallest and the largest code that occurs */
  readonly codes?: { readonly form: Form; readonly low: number; readonly high: number }
  /** it is plain numbers of this format */
  readonly plain?: "bf16" | "f16" | "f32"
  /** `count` numbers from whole blocks */
  readonly values: (blocks: Uint8Array, count: number) => Float32Array
}

/** Little-endian access to bytes that begin anywhere. */
export const viewOf = (bytes: Uint8Array): DataView => new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)

/** The f16 at a byte. */
export const f16 = (view: DataView, at: number): number => view.getFloat16(at, true)

/** Decodes one block after the other: `decode` gives number `i` of the block at byte `at`; what it returns is rounded to f32. */
export const eachBlock =
  (numbers: number, bytes: number, decode: (view: DataView, at: number) => (i: number) => number) =>
  (blocks: Uint8Array, count: number): Float32Array => {
    const view = viewOf(blocks)
    const values = new Float32Array(count)
    for (let block = 0; block * numbers < count; block++) {
      const number = decode(view, block * bytes)
      for (let i = 0; i < numbers; i++) values[block * numbers + i] = number(i)
    }
    return values
  }

/** A form of GGUF's blocks: what is not named is Q4_0's. */
export const formOf = (form: Partial<Form>): Form => ({
  bits: 4,
  block: 32,
  scales: "f16",
  zeros: "middle",
  minimum: false,
  ordered: false,
  ...form
})

const countOf = ({ shape }: Tensor): number => shape.reduce((a, b) => a * b, 1)

/** Numbers of a row. */
const columnsOf = ({ shape }: Tensor): number => shape.at(-1) ?? 1

/** The storage format of tensors made of such blocks: one piece, `blocks`, row after row. */
export const blockFormat = ({ bytes, codes, name, numbers, plain, values }: Block): Format => ({
  name: `gguf/${name}`,
  // an addend makes other numbers of them
  form: ({ coded }) => coded?.addend === 0 ? codes?.form : undefined,
  exact: plain !== undefined,
  sizes: (tensor) => ({
    // rows begin with a block
    blocks: columnsOf(tensor) % numbers === 0 ? countOf(tensor) / numbers * bytes : NaN
  }),
  values: (tensor, { blocks = new Uint8Array() }) => {
    const { addend = 0, interleavedHeads = 0 } = tensor.coded ?? {}
    const columns = columnsOf(tensor)
    const rows = countOf(tensor) / columns
    const stored = values(blocks, rows * columns)
    if (interleavedHeads === 0 && addend === 0) return stored
    const ordered = new Float32Array(stored.length)
    for (let row = 0; row < rows; row++) {
      const from = interleavedRow(row, rows, interleavedHeads) * columns
      ordered.set(stored.subarray(from, from + columns), row * columns)
    }
    // adding 0 would take the sign of -0
    return addend === 0 ? ordered : ordered.map((value) => value + addend)
  }
})
