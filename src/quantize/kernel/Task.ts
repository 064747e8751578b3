import type { Form } from "../../tensor/Coded.ts"
import type { ByteRange, Tensor } from "../../tensor/Tensor.ts"

/** Bytes read at once. The int4 kernel ran a fifth faster on 1 MiB than on 8 MiB, and less memory is touched for the first time. */
export const CHUNK = 1 << 20

/** Number formats that the kernels read. */
export const kernelDTypes = ["bf16", "f16", "f32"] as const
export type KernelDType = (typeof kernelDTypes)[number]

/** A file and a byte in it. */
export interface Place {
  readonly file: string
  readonly offset: number
}

/** A file that has its final size, and where in it the codes and the scales of a piece begin. */
export interface Destination {
  readonly file: string
  readonly codes: number
  readonly scales: number
}

/** Offsets in `file`, which is there with its final size, of the pieces that a `Form` names. */
export interface CodedPlace {
  readonly file: string
  readonly codes: number
  readonly scales: number
  readonly zeros?: number
  readonly minimum?: number
  readonly order?: number
}

/** What becomes of a coded tensor's numbers. Places are those of the whole tensor. */
export type Outcome =
  | { readonly kind: "recode"; readonly form: Form; readonly to: CodedPlace }
  | { readonly kind: "convert"; readonly dtype: KernelDType; readonly to: Place }
  /** blocks of 32: codes of `bits`, f16 scales */
  | { readonly kind: "blocks"; readonly bits: 4 | 8; readonly to: Destination }
  /** i8 codes, one bf16 scale a row */
  | { readonly kind: "rows"; readonly to: Destination }
  | { readonly kind: "scan" }

/** What a worker is asked: a bounded piece of work on byte ranges of files. `source` holds whole rows. */
export type Task =
  /** blocks of 32: codes of `bits`, f16 scales */
  | {
    readonly kind: "blocks"
    readonly bits: 4 | 8
    readonly dtype: KernelDType
    readonly columns: number
    readonly source: ByteRange
    readonly destination: Destination
  }
  /** i8 codes, one bf16 scale a row */
  | {
    readonly kind: "rows"
    readonly dtype: KernelDType
    readonly columns: number
    readonly source: ByteRange
    readonly destination: Destination
  }
  /** rows `first` … `first + rows` of a tensor that its storage format decodes */
  | {
    readonly kind: "coded"
    readonly source: Tensor
    readonly first: number
    readonly rows: number
    readonly outcome: Outcome
  }
  /** bytes as they are; with `dtype`, looked at on the way */
  | {
    readonly kind: "copy"
    readonly dtype: KernelDType | undefined
    readonly source: ByteRange
    readonly destination: Place
  }
  | { readonly kind: "scan"; readonly dtype: KernelDType; readonly source: ByteRange }
  /** `length` times the same byte */
  | { readonly kind: "fill"; readonly byte: number; readonly length: number; readonly destination: Place }

/** What the kernels saw; indices relative to the piece, -1 for none. */
export interface Seen {
  readonly nan: number
  readonly infinity: number
  readonly largest: number
  readonly underflows: number
  readonly firstUnderflow: number
  readonly overflows: number
  readonly firstOverflow: number
  /** sum of the squares of what was converted or requantised, and of the errors that this made */
  readonly squares: number
  readonly errors: number
}

/** What a worker answers. Plain data: it crosses threads. */
export type Answer =
  | { readonly kind: "done"; readonly seen: Seen }
  /** the caller asked to stop; some bytes may have been written */
  | { readonly kind: "stopped" }
  | {
    readonly kind: "truncated"
    readonly file: string
    readonly offset: number
    readonly expected: number
    readonly found: number
  }
  | { readonly kind: "unreadable"; readonly file: string; readonly detail: string }
  | { readonly kind: "unwritable"; readonly file: string; readonly detail: string }
  | { readonly kind: "full"; readonly file: string; readonly offset: number; readonly bytes: number }

/** A message to a worker: `slot` is the place of its stop flag. */
export interface Call {
  readonly slot: number
  readonly task: Task
}
