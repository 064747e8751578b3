import { Result, Schema, SchemaIssue } from "effect"
import type { ConfigProblem } from "../Architecture.ts"

/** What reading a part of a config gives: the value, or every problem found. */
export type Read<A> = Result.Result<A, ReadonlyArray<ConfigProblem>>

/** Past every published model; what is larger is a damaged file, and would make us allocate for it. */
export const MOST_LAYERS = 10_000
const LARGEST_SIZE = 2 ** 24
const MOST_POSITIONS = 2 ** 31 - 1
// A file that is wrong in a thousand places is not read to the end by anybody.
const MOST_PROBLEMS = 20
const LONGEST_FOUND = 120

const whole = (maximum: number) =>
  Schema.Int.pipe(
    Schema.check(Schema.isBetween({ minimum: 1, maximum }, { message: `a whole number from 1 to ${maximum}` }))
  )

/** A dimension of a tensor. */
export const Size = whole(LARGEST_SIZE)
/** A number of positions. */
export const Positions = whole(MOST_POSITIONS)
/** A factor, an epsilon, a base. */
export const Positive = Schema.Finite.pipe(Schema.check(Schema.isGreaterThan(0, { message: "a number above 0" })))

/** A key that may be absent or null, which mean the same: the family's default. */
export const optional = <S extends Schema.Top>(schema: S) => Schema.optionalKey(Schema.NullOr(schema))

/** What every decoder's config says of its sizes; keys by `decoderKeys`. */
export const decoderFields = {
  hidden: Size,
  intermediate: Size,
  layerCount: whole(MOST_LAYERS),
  heads: Size,
  keyValueHeads: optional(Size),
  headSize: optional(Size),
  vocabulary: Size,
  positions: optional(Positions),
  normEpsilon: optional(Positive),
  activation: optional(Schema.String),
  tied: optional(Schema.Boolean),
  causal: optional(Schema.Boolean),
  bidirectional: optional(Schema.Boolean)
} as const

/** Names of `decoderFields` in config.json. */
export const decoderKeys = {
  hidden: "hidden_size",
  intermediate: "intermediate_size",
  layerCount: "num_hidden_layers",
  heads: "num_attention_heads",
  keyValueHeads: "num_key_value_heads",
  headSize: "head_dim",
  vocabulary: "vocab_size",
  positions: "max_position_embeddings",
  normEpsilon: "rms_norm_eps",
  activation: "hidden_act",
  tied: "tie_word_embeddings",
  causal: "is_causal",
  bidirectional: "use_bidirectional_attention"
} as const

/** What a problem shows of a value: JSON, cut where it is long; "nothing" where the key is absent. */
export const show = (value: unknown): string => {
  const text = JSON.stringify(value) ?? "nothing"
  return text.length > LONGEST_FOUND ? `${text.slice(0, LONGEST_FOUND)}…` : text
}

/** One problem of a config that is wrong (exit code 3). */
export const wrong = (path: string, expected: string, found: string): ReadonlyArray<ConfigProblem> => [
  { path, expected, found, unsupported: false }
]

/** One problem of a config that is sound but beyond us (exit code 4). */
export const unsupported = (path: string, expected: string, found: string): ReadonlyArray<ConfigProblem> => [
  { path, expected, found, unsupported: true }
]

const standard = SchemaIssue.makeFormatterStandardSchemaV1()

const valueAt = (config: unknown, path: ReadonlyArray<PropertyKey>): unknown => {
  let value = config
  for (const key of path) {
    if (typeof value !== "object" || value === null) return undefined
    value = Object.getOwnPropertyDescriptor(value, key)?.value
  }
  return value
}

/** The config by a family's schema; all problems at once. */
export const decode = <A, I>(schema: Schema.Codec<A, I>, config: unknown): Read<A> =>
  Result.mapError(
    Schema.decodeUnknownResult(schema)(config, { errors: "all" }),
    ({ issue }) =>
      standard(issue).issues.slice(0, MOST_PROBLEMS).map(({ message, path = [] }) => {
        const keys = path.map((step) => typeof step === "object" ? step.key : step)
        return {
          path: keys.map(String).join(".") || "(top level)",
          expected: message === "Missing key" ? "a value" : message.replace(/^Expected /, ""),
          found: show(valueAt(config, keys)),
          unsupported: false
        }
      })
  )

/** Sizes that fit each other. `queryWidth` and `cacheWidth` are heads × head size. */
export interface Shape {
  readonly hidden: number
  readonly intermediate: number
  readonly layers: number
  readonly vocabulary: number
  readonly heads: number
  readonly keyValueHeads: number
  readonly headSize: number
  readonly queryWidth: number
  readonly cacheWidth: number
}

/** What `shapeOf` reads of a config. */
export interface Sizes {
  readonly hidden: number
  readonly intermediate: number
  readonly layerCount: number
  readonly vocabulary: number
  readonly heads: number
}

/** Checks sizes against each other. The head size must be even (the rotary embedding turns halves). */
export const shapeOf = (sizes: Sizes, keyValueHeads: number, headSize: number | undefined): Read<Shape> => {
  const { heads, hidden } = sizes
  if (heads % keyValueHeads !== 0) {
    return Result.fail(
      wrong("num_attention_heads", `a multiple of num_key_value_heads (${keyValueHeads})`, `${heads}`)
    )
  }
  if (headSize === undefined && hidden % heads !== 0) {
    return Result.fail(
      wrong("hidden_size", `a multiple of num_attention_heads (${heads}), as there is no head_dim`, `${hidden}`)
    )
  }
  const size = headSize ?? hidden / heads
  if (size % 2 !== 0) {
    return Result.fail(
      wrong(
        headSize === undefined ? "hidden_size" : "head_dim",
        "an even head size",
        headSize === undefined ? `${hidden} / ${heads} heads` : `${headSize}`
      )
    )
  }
  if (heads * size > LARGEST_SIZE) {
    return Result.fail(
      wrong("num_attention_heads", `at most ${LARGEST_SIZE} numbers in all heads together`, `${heads} × ${size}`)
    )
  }
  return Result.succeed({
    hidden,
    intermediate: sizes.intermediate,
    layers: sizes.layerCount,
    vocabulary: sizes.vocabulary,
    heads,
    keyValueHeads,
    headSize: size,
    queryWidth: heads * size,
    cacheWidth: keyValueHeads * size
  })
}
