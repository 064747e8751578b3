import { firstSeen, maskRows, rotaryTables } from "../../run/Tables.ts"
import type { Values } from "../../verify/Messages.ts"

/** Values of a layer by the names that its parts' inputs and outputs have. */
export type Activations = Readonly<Record<string, Values>>

/** `[rows × columns]` f32. */
export const matrix = (data: Float32Array, rows: number, columns: number): Values => ({
  dtype: "f32",
  shape: [rows, columns],
  data
})

/** A rotary embedding, by what the model's facts or the build's file say of it. */
export interface Turning {
  readonly inverseFrequencies: ReadonlyArray<number>
  readonly attentionFactor: number
  readonly long?: { readonly above: number; readonly inverseFrequencies: ReadonlyArray<number> }
}

/** `cos` and `sin` of `tokens` tokens from `position` of a sequence of `length`; nothing for a layer without a rope. */
export const anglesOf = (rope: Turning | undefined, position: number, tokens: number, length: number): Activations => {
  if (rope === undefined) return {}
  const { attentionFactor, long } = rope
  const frequencies = long !== undefined && length > long.above ? long.inverseFrequencies : rope.inverseFrequencies
  const half = frequencies.length
  const cos = new Float32Array(tokens * half)
  const sin = new Float32Array(tokens * half)
  rotaryTables(frequencies, attentionFactor, position, tokens, cos, sin)
  return { cos: matrix(cos, tokens, half), sin: matrix(sin, tokens, half) }
}

/** `mask` of `tokens` tokens from `position`, over what the first of them sees. */
export const maskOf = (window: number | null, position: number, tokens: number): Activations => {
  const context = position + tokens - firstSeen(position, window)
  const mask = new Float32Array(tokens * context)
  maskRows(position, tokens, window, mask)
  return { mask: matrix(mask, tokens, context) }
}

/** `rows`: the tokens whose prediction is wanted. */
export const rowsOf = (from: number, to: number): Activations => ({
  rows: {
    dtype: "i64",
    shape: [to - from],
    data: BigInt64Array.from({ length: to - from }, (_, i) => BigInt(from + i))
  }
})

/** Rows of a matrix of f32. */
export const rowRange = ({ data, shape }: Values, from: number, to: number): Values => {
  const [, columns = 0] = shape
  const numbers = data instanceof Float32Array ? data : new Float32Array()
  return matrix(numbers.subarray(from * columns, to * columns), to - from, columns)
}
