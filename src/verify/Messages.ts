import type { Numbers, PortDType, SessionOptions } from "./Ort.ts"

/** Numbers with their format and shape, outermost first. */
export interface Values {
  readonly dtype: PortDType
  readonly shape: ReadonlyArray<number>
  readonly data: Numbers
}

/** What the thread of the runtime is asked. */
export type Question =
  | { readonly kind: "load"; readonly model: Uint8Array; readonly options: SessionOptions }
  | {
    readonly kind: "run"
    readonly session: number
    readonly feeds: Readonly<Record<string, Values>>
    readonly fetches: ReadonlyArray<string>
  }
  | { readonly kind: "release"; readonly session: number }

/** What it answers. */
export type Answer =
  | {
    readonly kind: "loaded"
    readonly session: number
    readonly inputs: ReadonlyArray<string>
    readonly outputs: ReadonlyArray<string>
  }
  | { readonly kind: "ran"; readonly values: Readonly<Record<string, Values>> }
  | { readonly kind: "released" }
  | { readonly kind: "missing"; readonly detail: string }
  | { readonly kind: "refused"; readonly detail: string }
  | { readonly kind: "failed"; readonly detail: string }
