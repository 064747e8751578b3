/** A file and the byte at which its numbers begin. */
export interface NumbersAt {
  readonly file: string
  readonly offset: number
}

/** Rows as codes: `(code − zero) · scale + minimum` for each `block` numbers; see `RuntimeConfig`. */
export interface CodedRows {
  readonly bits: 4 | 8
  readonly block: number
  readonly zero: number
  readonly scales: NumbersAt & { readonly dtype: "f16" | "f32" }
  /** f32 */
  readonly minimum: NumbersAt | undefined
}

/** Where embedding rows are: numbers of a `.npy` file from `offset`, `[vocabulary × hidden]`. */
export interface EmbeddingTable extends NumbersAt {
  /** "codes": as `codes` says */
  readonly dtype: "bf16" | "f16" | "f32" | "i8" | "codes"
  readonly codes: CodedRows | undefined
  /** bf16 scale of each row, for i8 */
  readonly scales: NumbersAt | undefined
  readonly multiplier: number
}

/** One rotary table: frequencies of runs up to `long.above` positions, and of longer ones. */
export interface RopeTable {
  readonly name: string
  readonly inverseFrequencies: ReadonlyArray<number>
  readonly long: ReadonlyArray<number> | undefined
  readonly attentionFactor: number
}

/** What is kept of a sequence for one layer: rows of K and V for each position, or a state `[rows × width]`. All f32. */
export type LayerMemory =
  | { readonly kind: "attention"; readonly width: number; readonly window: number | null }
  | { readonly kind: "convolution"; readonly rows: number; readonly width: number }

/** What the thread must know of a build. */
export interface Build {
  readonly hidden: number
  readonly vocabulary: number
  readonly layers: ReadonlyArray<LayerMemory>
  readonly ropes: ReadonlyArray<RopeTable>
  /** rows of the caches */
  readonly positions: number
  /** tokens of the longest pass */
  readonly groupSize: number
  readonly embeddings: EmbeddingTable
}

/** Two programs, or one that is both; `folder` is where their weights are. */
export interface Programs {
  readonly folder: string
  readonly group: Uint8Array
  /** undefined: the group program serves single tokens too */
  readonly single: Uint8Array | undefined
  /** new rows are written into the caches that the same pass reads */
  readonly aliased: boolean
  readonly threads: number
}

/** What a pass is wanted for: nothing, the next token, logits of the last token, logits of every token. */
export type Wanted = "nothing" | "token" | "logits" | "all"

/** Tokens at consecutive positions. */
export interface Step {
  readonly ids: ReadonlyArray<number>
  readonly position: number
  readonly wanted: Wanted
  /** the ropes' long frequencies */
  readonly long: boolean
  readonly phase: "group" | "single"
  /** positions, beside 0 and those before and after this pass, whose states are kept: a later pass may begin there */
  readonly marks: ReadonlyArray<number>
}

export type Question =
  | { readonly kind: "open"; readonly build: Build; readonly programs: Programs }
  | { readonly kind: "step"; readonly step: Step }

export type Answer =
  /** `sound`: the self check found every row where attention reads it */
  | { readonly kind: "opened"; readonly sound: boolean }
  | { readonly kind: "stepped"; readonly token: number; readonly logits: Float32Array | undefined }
  | { readonly kind: "missing"; readonly detail: string }
  | { readonly kind: "refused"; readonly detail: string }
  | { readonly kind: "failed"; readonly detail: string }
