import type { Coded, Form } from "../../../tensor/Coded.ts"
import type { Tensor } from "../../../tensor/Tensor.ts"
import type { Instance } from "../Instance.ts"

/** A coded tensor as a worker sees it. */
export interface Source {
  readonly tensor: Tensor
  readonly coded: Coded
  readonly rows: number
  readonly columns: number
  /** rows that are asked for at once, at most */
  readonly most: number
  readonly instance: Instance
  /** opens a piece: then `count` bytes from its byte `from` are read to an address */
  readonly piece: (name: string) => (address: number, from: number, count: number) => void
}

/** Addresses of a chunk's pieces; `zeros` and `minimum` are there where the form has them. */
export interface Addresses {
  readonly codes: number
  readonly scales: number
  readonly zeros: number
  readonly minimum: number
}

/** Rows that come as codes of a form. */
export interface CodeRows {
  readonly kind: "codes"
  readonly form: Form
  /** smallest and largest code that can occur */
  readonly low: number
  readonly high: number
  /** bytes of buffers that `read` gets, for `most` rows */
  readonly sizes: ReadonlyArray<number>
  /** the model's rows `first` … `first + count`, `[count × …]` as `Form` says */
  readonly read: (buffers: ReadonlyArray<number>, first: number, count: number, to: Addresses) => void
  /** which input each stored column multiplies, i32 `[columns]`; for forms that are ordered */
  readonly order?: ((buffers: ReadonlyArray<number>) => Int32Array) | undefined
}

/** Rows that come as f32. */
export interface FloatRows {
  readonly kind: "floats"
  readonly sizes: ReadonlyArray<number>
  /** the model's rows `first` … `first + count`, `[count × columns]` f32, without the addend, to address `to` */
  readonly read: (buffers: ReadonlyArray<number>, first: number, count: number, to: number) => void
}

/** How storage formats that are alike are read in a worker. One that is read as codes needs nothing else: numbers are made of these. */
export interface Family {
  readonly reads: (format: string) => boolean
  readonly open: (source: Source) => CodeRows | FloatRows
}
