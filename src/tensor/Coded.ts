import type { Tensor } from "./Tensor.ts"

/**
 * Codes of a matrix as our blobs hold them: `w = (code − zero) · scale + minimum`, one scale for each `block` numbers along a
 * row. Codes `[rows × padded]` u4 (low nibble first) or u8, all else `[rows × blocks]`.
 */
export interface Form {
  readonly bits: 4 | 8
  /** a power of two from 16 to 256 */
  readonly block: number
  readonly scales: "f16" | "f32"
  /** "middle": 8 or 128 throughout; "none": 0 throughout; "stored": one per block, in the codes' format */
  readonly zeros: "middle" | "none" | "stored"
  /** one f32 per block is added to the products */
  readonly minimum: boolean
  /** columns are sorted by their group; i32 `[columns]`, which input each stored column multiplies, stands beside the codes */
  readonly ordered: boolean
}

/**
 * How a tensor is stored where that is not plain numbers of its dtype in C order. The tensor's `shape` and `name` are those of the
 * model, its `dtype` the plain numbers that it can become, its `range` the bytes of the largest piece.
 */
export interface Coded {
  /** name of the storage format, in `quantize/format/registry.ts`: `gguf/Q4_K`, `packed`, `gptq` */
  readonly format: string
  /** stored tensors that it is made of, by the names that the format gives them: `blocks`; `packed`, `scale`, `zero_point` */
  readonly pieces: Readonly<Record<string, Tensor>>
  /** bits of a code, for formats that come in several widths */
  readonly bits: 4 | 8
  /** numbers along a row that share a scale, for formats that come in several sizes; the columns where a row has one */
  readonly group: number
  /** columns do not lie in the order of their groups; a piece says which group each has */
  readonly ordered: boolean
  /** heads whose rows are interleaved: of d rows, row 2i is the model's row i and row 2i + 1 its row i + d/2; 0: rows are in order */
  readonly interleavedHeads: number
  /** added to every number */
  readonly addend: number
}

/**
 * Which stored row is the model's row `row` of `rows`, where the rows of `heads` heads are interleaved; 0 heads: the same.
 * Source: `permute` of llama.cpp's convert_hf_to_gguf.py, undone.
 */
export const interleavedRow = (row: number, rows: number, heads: number): number => {
  if (heads === 0) return row
  const size = rows / heads
  const inHead = row % size
  return row - inHead + (inHead < size / 2 ? 2 * inHead : 2 * inHead - size + 1)
}
