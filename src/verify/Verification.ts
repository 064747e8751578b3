import { Schema } from "effect"

/** One output of a program beside the float reference's: how far apart, and how far they may be. */
export const TensorCheck = Schema.Struct({
  /** `group_pre_3`; `embeddings` for the rows that enter the first layer */
  program: Schema.String,
  /** `q`, `attended`, `hidden_out`, `logits` */
  tensor: Schema.String,
  /** of the program, as the configuration file names it; `FLOAT` for what no configuration decides */
  precision: Schema.String,
  /** mean over tokens of ‖found − expected‖ / ‖expected‖, six digits; of `hidden_out`, of what the layer adds to `hidden` */
  error: Schema.Finite,
  /** largest |found − expected| of one number */
  largest: Schema.Finite,
  /** what `error` may be at most */
  threshold: Schema.Finite,
  passed: Schema.Boolean
})
export type TensorCheck = typeof TensorCheck.Type

/** How far the build's predictions are from the reference's, the error of all parts together. */
export const Divergence = Schema.Struct({
  /** mean KL(reference ‖ build) of the next token's distribution, nats */
  kl: Schema.Finite,
  threshold: Schema.Finite,
  /** positions of the text that it is the mean of */
  positions: Schema.Int,
  /** positions at which both have the same likeliest token */
  agreeing: Schema.Int,
  passed: Schema.Boolean
})
export type Divergence = typeof Divergence.Type

/** What comparing a build with its float model came to. Holds no times: the same build gives the same text. */
export const Verification = Schema.Struct({
  mode: Schema.Literals(["quick", "full"]),
  /** tokens that went through every part */
  tokens: Schema.Int,
  /** in the order in which a token meets them; a phase whose program is the other's, byte for byte, is not listed again */
  checks: Schema.Array(TensorCheck),
  /** programs that the configuration file left out */
  skipped: Schema.Array(Schema.String),
  /** of "full" alone */
  divergence: Schema.optionalKey(Divergence),
  passed: Schema.Boolean
})
export type Verification = typeof Verification.Type

/** The check that is furthest beyond its threshold, or closest to it; undefined where nothing was compared. */
export const worstOf = ({ checks }: Verification): TensorCheck | undefined =>
  checks.reduce<TensorCheck | undefined>(
    (worst, check) =>
      worst === undefined || check.error / check.threshold > worst.error / worst.threshold ? check : worst,
    undefined
  )
