import { Result, Schema } from "effect"
import type { Rope } from "../Architecture.ts"
import { optional, Positions, Positive, type Read, show, unsupported, wrong } from "./Config.ts"
import { divided, linear, llama3, longAttention, plain, yarn, yarnAttention } from "./Frequencies.ts"

// longrope has a factor for each pair of a head; longer lists are not a config.
const MOST_FACTORS = 2 ** 16

const Factors = Schema.Array(Positive).pipe(
  Schema.check(Schema.isMaxLength(MOST_FACTORS, { message: `at most ${MOST_FACTORS} numbers` }))
)

/** Settings of one rotary embedding, as `rope_scaling` (transformers 4) and `rope_parameters` (5) hold them. */
export const RopeSettings = Schema.Struct({
  rope_type: optional(Schema.String),
  type: optional(Schema.String),
  rope_theta: optional(Positive),
  partial_rotary_factor: optional(Positive),
  factor: optional(Positive),
  original_max_position_embeddings: optional(Positions),
  attention_factor: optional(Positive),
  low_freq_factor: optional(Positive),
  high_freq_factor: optional(Positive),
  beta_fast: optional(Schema.Finite),
  beta_slow: optional(Schema.Finite),
  mscale: optional(Schema.Finite),
  mscale_all_dim: optional(Schema.Finite),
  truncate: optional(Schema.Boolean),
  short_factor: optional(Factors),
  long_factor: optional(Factors),
  factors: optional(Factors)
})
export type RopeSettings = typeof RopeSettings.Type

/** Keys of a config that has one rotary embedding for all layers, in the old and the new style; names by `ropeKeys`. */
export const ropeFields = {
  ropeTheta: optional(Positive),
  ropeScaling: optional(RopeSettings),
  ropeParameters: optional(RopeSettings),
  partialRotary: optional(Positive),
  originalPositions: optional(Positions)
} as const

/** Names of `ropeFields` in config.json. */
export const ropeKeys = {
  ropeTheta: "rope_theta",
  ropeScaling: "rope_scaling",
  ropeParameters: "rope_parameters",
  partialRotary: "partial_rotary_factor",
  originalPositions: "original_max_position_embeddings"
} as const

/** What `ropeOf` is asked for: settings found at `path`, for heads of which `rotary` numbers turn, in a model of `positions`. */
export interface RopeQuestion {
  readonly name: string
  readonly path: string
  readonly settings: RopeSettings
  readonly theta: number
  readonly rotary: number
  readonly positions: number
  /** `original_max_position_embeddings` beside, not inside, the settings; goes before theirs */
  readonly originalPositions: number | undefined
}

type Reader = (question: RopeQuestion) => Read<Rope>

/** The value of a setting that the type needs. */
const needed = <A>(path: string, key: string, value: A | null | undefined, expected: string): Read<A> =>
  value === null || value === undefined
    ? Result.fail(wrong(`${path}.${key}`, expected, "nothing"))
    : Result.succeed(value)

const number = (path: string, key: string, value: number | null | undefined): Read<number> =>
  needed(path, key, value, "a number above 0")

/** One factor for each of `half` pairs of a head. */
const factorsOf = (
  path: string,
  key: "short_factor" | "long_factor" | "factors",
  value: ReadonlyArray<number> | null | undefined,
  half: number
): Read<ReadonlyArray<number>> =>
  Result.flatMap(
    needed(path, key, value, `${half} numbers`),
    (list) =>
      list.length === half
        ? Result.succeed(list)
        : Result.fail(wrong(`${path}.${key}`, `${half} numbers`, `${list.length} numbers`))
  )

/** Positions that the model had before its embedding was stretched. Source: transformers 5.24, `standardize_rope_params`. */
const originalOf = ({ originalPositions, positions, settings }: RopeQuestion): number =>
  originalPositions ?? settings.original_max_position_embeddings ?? positions

const longrope: Reader = (question) =>
  Result.gen(function*() {
    const { name, path, positions, rotary, settings, theta } = question
    const factors = (key: "short_factor" | "long_factor") => factorsOf(path, key, settings[key], rotary / 2)
    const short = yield* factors("short_factor")
    const long = yield* factors("long_factor")
    const above = originalOf(question)
    const factor = settings.factor ?? positions / above
    return {
      name,
      inverseFrequencies: divided(theta, rotary, short),
      attentionFactor: settings.attention_factor ?? longAttention(factor, above),
      // Source: transformers 5.24, `longrope_frequency_update`: of the tokens that a pass runs, by the last one's position.
      long: { above, inverseFrequencies: divided(theta, rotary, long), keeps: true }
    }
  })

/** Types by the name that config.json uses. `dynamic` is not here: its frequencies follow the length of the run, one after another. */
const types: Readonly<Record<string, Reader>> = {
  default: ({ name, rotary, theta }) =>
    Result.succeed({ name, inverseFrequencies: plain(theta, rotary), attentionFactor: 1 }),
  linear: ({ name, path, rotary, settings, theta }) =>
    Result.map(number(path, "factor", settings.factor), (factor) => ({
      name,
      inverseFrequencies: linear(theta, rotary, factor),
      attentionFactor: 1
    })),
  llama3: (question) =>
    Result.gen(function*() {
      const { name, path, rotary, settings, theta } = question
      const factor = yield* number(path, "factor", settings.factor)
      const low = yield* number(path, "low_freq_factor", settings.low_freq_factor)
      const high = yield* number(path, "high_freq_factor", settings.high_freq_factor)
      if (high <= low) {
        return yield* Result.fail(wrong(`${path}.high_freq_factor`, `more than low_freq_factor (${low})`, `${high}`))
      }
      const original = originalOf(question)
      return { name, inverseFrequencies: llama3(theta, rotary, { factor, low, high, original }), attentionFactor: 1 }
    }),
  yarn: (question) =>
    Result.gen(function*() {
      const { name, path, rotary, settings, theta } = question
      const factor = yield* number(path, "factor", settings.factor)
      return {
        name,
        // `||`: the source takes 0 for absent in all of these; its null for `truncate` is false.
        inverseFrequencies: yarn(theta, rotary, {
          factor,
          original: originalOf(question),
          fast: settings.beta_fast || 32,
          slow: settings.beta_slow || 1,
          truncate: settings.truncate !== null && settings.truncate !== false
        }),
        attentionFactor: settings.attention_factor ??
          yarnAttention(factor, settings.mscale || undefined, settings.mscale_all_dim || undefined)
      }
    }),
  longrope,
  divided: ({ name, path, rotary, settings, theta }) =>
    Result.map(factorsOf(path, "factors", settings.factors, rotary / 2), (factors) => ({
      name,
      inverseFrequencies: divided(theta, rotary, factors),
      attentionFactor: settings.attention_factor ?? 1
    }))
}

// No config of Hugging Face says `divided`: a GGUF file holds the factors themselves.
const named = Object.keys(types).filter((type) => type !== "divided")

// Published models go to 1e8; in float32 the periods must stay finite.
const MOST_THETA = 1e30

/** The rotary embedding that settings describe. */
export const ropeOf = (question: RopeQuestion): Read<Rope> => {
  const { path, settings, theta } = question
  const key = settings.rope_type === undefined && settings.type !== undefined ? "type" : "rope_type"
  const type = settings.rope_type ?? settings.type ?? "default"
  const reader = Object.hasOwn(types, type) ? types[type] : undefined
  if (reader === undefined) {
    return Result.fail(unsupported(`${path}.${key}`, `one of ${named.join(", ")}`, show(type)))
  }
  if (theta <= 1 || theta > MOST_THETA) {
    return Result.fail(wrong("rope_theta", `a number above 1, at most ${MOST_THETA}`, `${theta}`))
  }
  return Result.flatMap(
    reader(question),
    (rope) =>
      rope.inverseFrequencies.every(Number.isFinite) && Number.isFinite(rope.attentionFactor)
        ? Result.succeed(rope)
        : Result.fail(wrong(path, "settings that give finite frequencies", show(settings)))
  )
}

/** What `soleRope` reads of a config. */
export interface RopeConfig {
  readonly ropeTheta?: number | null
  readonly ropeScaling?: RopeSettings | null
  readonly ropeParameters?: RopeSettings | null
  readonly partialRotary?: number | null
  readonly originalPositions?: number | null
}

/** A rotary embedding and its base. */
export interface SoleRope {
  readonly rope: Rope
  readonly theta: number
}

// Every family here has this base where the config names none. Source: transformers 5, `default_theta`.
const DEFAULT_THETA = 10_000

/**
 * The rotary embedding, named `full`, of a model that has one for all layers. `partial` is the family's `partial_rotary_factor`
 * (what part of a head turns) where the config has none; undefined: the family turns whole heads only.
 */
export const soleRope = (
  config: RopeConfig,
  headSize: number,
  positions: number,
  partial?: number
): Read<SoleRope> => {
  const { originalPositions, ropeParameters } = config
  // as in the source, an object without keys says nothing
  const ropeScaling = config.ropeScaling && Object.keys(config.ropeScaling).length > 0 ? config.ropeScaling : undefined
  const path = ropeScaling ? "rope_scaling" : "rope_parameters"
  const settings = ropeScaling ?? ropeParameters ?? {}
  if (
    ropeParameters && !ropeScaling && ["rope_type", "type", "rope_theta"].every((key) => !Object.hasOwn(settings, key))
  ) {
    return Result.fail(
      unsupported(path, "rope_theta and rope_type, one rotary embedding for all layers", "other keys")
    )
  }
  const part = settings.partial_rotary_factor ?? config.partialRotary ?? partial ?? 1
  if (partial === undefined && part !== 1) {
    return Result.fail(unsupported("partial_rotary_factor", "1 in this family", `${part}`))
  }
  const rotary = Math.trunc(headSize * part)
  if (rotary < 2 || rotary > headSize || rotary % 2 !== 0) {
    return Result.fail(
      wrong("partial_rotary_factor", `an even number, from 2 to all, of a head's ${headSize} numbers`, `${part}`)
    )
  }
  const theta = settings.rope_theta ?? config.ropeTheta ?? DEFAULT_THETA
  const rope = ropeOf({
    name: "full",
    path,
    settings,
    theta,
    rotary,
    positions,
    originalPositions: originalPositions ?? undefined
  })
  return Result.map(rope, (rope) => ({ rope, theta }))
}
