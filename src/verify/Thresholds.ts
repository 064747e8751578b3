/** What a program's arithmetic is, as far as its error goes. */
export const arithmetics = ["BF16", "A_BF16_W_INT8", "A_BF16_W_INT4", "FLOAT"] as const
export type Arithmetic = (typeof arithmetics)[number]

/** Limit of one output's relative error, and why it is that. */
export interface Threshold {
  readonly limit: number
  /** largest error of a sound build, over all layers and outputs of this kind */
  readonly measured: number
  readonly reason: string
}

/** Outputs that are far from zero because they carry the residual stream have smaller relative errors than products alone. */
export const kinds = ["product", "attention", "stream", "logits"] as const
export type Kind = (typeof kinds)[number]

export const thresholds: Readonly<Record<Arithmetic, Readonly<Record<Kind, Threshold>>>> = {
  BF16: {
    product: { limit: 1, measured: 0, reason: "" },
    attention: { limit: 1, measured: 0, reason: "" },
    stream: { limit: 1, measured: 0, reason: "" },
    logits: { limit: 1, measured: 0, reason: "" }
  },
  A_BF16_W_INT8: {
    product: { limit: 1, measured: 0, reason: "" },
    attention: { limit: 1, measured: 0, reason: "" },
    stream: { limit: 1, measured: 0, reason: "" },
    logits: { limit: 1, measured: 0, reason: "" }
  },
  A_BF16_W_INT4: {
    product: { limit: 1, measured: 0, reason: "" },
    attention: { limit: 1, measured: 0, reason: "" },
    stream: { limit: 1, measured: 0, reason: "" },
    logits: { limit: 1, measured: 0, reason: "" }
  },
  FLOAT: {
    product: { limit: 1, measured: 0, reason: "" },
    attention: { limit: 1, measured: 0, reason: "" },
    stream: { limit: 1, measured: 0, reason: "" },
    logits: { limit: 1, measured: 0, reason: "" }
  }
}

/** Kind of a program's output by its name: `attended`, `hidden_out`, `logits`; all others are products. */
export const kindOf = (tensor: string): Kind =>
  tensor === "attended" ? "attention" : tensor === "hidden_out" ? "stream" : tensor === "logits" ? "logits" : "product"

/** Limits of the mean KL of the final distribution, nats. */
export const divergences: Readonly<Record<Arithmetic, Threshold>> = {
  BF16: { limit: 1, measured: 0, reason: "" },
  A_BF16_W_INT8: { limit: 1, measured: 0, reason: "" },
  A_BF16_W_INT4: { limit: 1, measured: 0, reason: "" },
  FLOAT: { limit: 1, measured: 0, reason: "" }
}
