import type { Coded } from "./Coded.ts"
import type { DType } from "./DType.ts"

/** Bytes of a file: `length` bytes from `offset`. `file` is an absolute path. */
export interface ByteRange {
  readonly file: string
  readonly offset: number
  readonly length: number
}

/** A named tensor whose numbers stay in a file until somebody reads them; `shape` outermost first, C order. */
export interface Tensor {
  readonly name: string
  readonly dtype: DType
  readonly shape: ReadonlyArray<number>
  readonly range: ByteRange
  /** present where the bytes are not plain numbers of `dtype` in C order */
  readonly coded?: Coded
}
