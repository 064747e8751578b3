import { Schema } from "effect"

const Count = Schema.Int.pipe(Schema.check(Schema.isGreaterThanOrEqualTo(0)))

/** Mirrors `Rope` of arch/Architecture.ts. */
const Rope = Schema.Struct({
  name: Schema.String,
  inverseFrequencies: Schema.Array(Schema.Finite),
  attentionFactor: Schema.Finite,
  long: Schema.optionalKey(
    Schema.Struct({
      above: Count,
      inverseFrequencies: Schema.Array(Schema.Finite),
      keeps: Schema.optionalKey(Schema.Boolean)
    })
  )
})

const programs = {
  /** program names inside `mpk/layer_<i>.tar.gz`, e.g. `group_pre_0` */
  programs: Schema.Array(Schema.String),
  /** programs that the configuration file left out with `compile: False` */
  omitted: Schema.Array(Schema.String)
} as const

/** Mirrors `LayerFacts`, and says which programs the layer's archive holds. */
const Layer = Schema.Union([
  Schema.Struct({
    kind: Schema.Literal("attention"),
    queryWidth: Count,
    cacheWidth: Count,
    window: Schema.NullOr(Count),
    rope: Schema.NullOr(Schema.String),
    ...programs
  }),
  Schema.Struct({ kind: Schema.Literal("convolution"), stateRows: Count, stateWidth: Count, ...programs })
])

/**
 * `devkit/runtime.json`: all that a runner must know beside the archives, the tokenizer files and the embeddings.
 * Written by the DEVKIT stage; read by `llima run` and by the Python runtime.
 */
export const RuntimeConfig = Schema.Struct({
  /** raised when a reader of an older file could go wrong */
  format: Schema.Literal(1),
  family: Schema.String,
  hidden: Count,
  vocabulary: Count,
  heads: Count,
  keyValueHeads: Count,
  headSize: Count,
  /** tokens that prompt and answer may fill together (`--max_num_tokens`) */
  maxNumTokens: Count,
  /** tokens per prefill pass (`--language_group_size`) */
  groupSize: Count,
  /** granularity of cache programs over positions, for targets with fixed shapes */
  futureTokenMaskSize: Count,
  /** the last layer gives `logits`, not `token` */
  returnLogits: Schema.Boolean,
  layers: Schema.Array(Layer),
  ropes: Schema.Array(Rope),
  embeddings: Schema.Struct({
    /**
     * `.npy` beside this file, `[vocabulary × hidden]`: u16 holds bf16 bits, f16 and f32 as numpy writes them, i8 needs `scales`;
     * "codes": u8 `[vocabulary × bytes]`, see `codes`
     */
    file: Schema.String,
    dtype: Schema.Literals(["bf16", "f16", "f32", "i8", "codes"]),
    /**
     * Rows that a source brought as codes: `(code − zero) · scale + minimum` for each `block` numbers of a row, whole blocks a row,
     * 4-bit codes low half first. `scales` (f16 or f32) and `minimum` (f32) are `.npy` files, `[vocabulary × blocks]`.
     */
    codes: Schema.optionalKey(Schema.Struct({
      bits: Schema.Literals([4, 8]),
      block: Count,
      zero: Count,
      scales: Schema.String,
      minimum: Schema.NullOr(Schema.String)
    })),
    /** `.npy` of u16 with bf16 bits, `[vocabulary]`; `row = code * scale` */
    scales: Schema.NullOr(Schema.String),
    /** applied to every row after it is read */
    multiplier: Schema.Finite
  }),
  /** ids that end an answer, from generation_config.json, else config.json */
  eosTokenIds: Schema.Array(Count),
  bosTokenId: Schema.NullOr(Count)
})
export type RuntimeConfig = typeof RuntimeConfig.Type

/** Where a build keeps it, relative to the output folder. */
export const runtimeConfigPath = "sima_files/devkit/runtime.json"
