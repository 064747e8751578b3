import { Result } from "effect"
import type { Model, Rope } from "../Architecture.ts"
import { decoderFields, decoderKeys, type Read, type Shape, shapeOf, type Sizes, unsupported } from "./Config.ts"
import { decoder } from "./Decoder.ts"
import { head } from "./Head.ts"
import type { Layer } from "./Layer.ts"
import { type Activation, activationOf } from "./Mlp.ts"
import { rmsNorm } from "./Norm.ts"
import { type RopeConfig, ropeFields, ropeKeys, soleRope } from "./Rope.ts"

/** What a config says of a decoder with one rotary embedding; keys by `settingsKeys`. */
export const settingsFields = { ...decoderFields, ...ropeFields } as const

/** Names of `settingsFields` in config.json. */
export const settingsKeys = { ...decoderKeys, ...ropeKeys } as const

/** `settingsFields` as decoded. */
interface Config extends Sizes, RopeConfig {
  readonly keyValueHeads?: number | null
  readonly headSize?: number | null
  readonly positions?: number | null
  readonly normEpsilon?: number | null
  readonly activation?: string | null
  readonly tied?: boolean | null
  readonly causal?: boolean | null
  readonly bidirectional?: boolean | null
}

/** What a family takes where its config has no key, or null. */
export interface Defaults {
  readonly keyValueHeads: number
  /** undefined: hidden / heads */
  readonly headSize: number | undefined
  readonly positions: number
  /** `partial_rotary_factor` of a family that has one; undefined: whole heads turn */
  readonly partialRotary?: number
  /** key of the activation's name, for problems; "hidden_act" where nothing is said */
  readonly activationKey?: string
}

/** A config's settings, checked against each other. */
export interface Settings {
  readonly shape: Shape
  readonly positions: number
  readonly epsilon: number
  readonly activation: Activation
  readonly rope: Rope
  readonly theta: number
  readonly tied: boolean
}

/** Settings of a config; untied, silu and an epsilon of 1e-6 where it does not say. Source: transformers 5.23, the families' configurations. */
export const settingsOf = (config: Config, defaults: Defaults): Read<Settings> =>
  Result.gen(function*() {
    // Either makes an encoder of a decoder. Source: transformers 5.24, `create_causal_mask` and models/gemma.
    if (config.causal === false) return yield* Result.fail(unsupported("is_causal", "true: a decoder", "false"))
    if (config.bidirectional === true) {
      return yield* Result.fail(unsupported("use_bidirectional_attention", "false: a decoder", "true"))
    }
    const keyValueHeads = config.keyValueHeads ?? defaults.keyValueHeads
    const shape = yield* shapeOf(config, keyValueHeads, config.headSize ?? defaults.headSize)
    const positions = config.positions ?? defaults.positions
    const { rope, theta } = yield* soleRope(config, shape.headSize, positions, defaults.partialRotary)
    const activation = yield* activationOf(config.activation ?? "silu", defaults.activationKey)
    const epsilon = config.normEpsilon ?? 1e-6
    return { shape, positions, epsilon, activation, rope, theta, tied: config.tied ?? false }
  })

const EMBEDDING = "model.embed_tokens.weight"

/** What a family has that is not as in llama, around its layers. */
export interface Unusual {
  /** rotary embeddings beside the settings' own; those that no layer uses are left out */
  readonly ropes?: ReadonlyArray<Rope>
  /** factor on embeddings */
  readonly multiplier?: number
  /** the norm behind the last layer, of tensors that begin with this name */
  readonly norm?: typeof rmsNorm
  /** that name, where it is not `model.norm` */
  readonly normName?: string
  readonly head?: typeof head
  readonly logitCap?: number | undefined
  readonly scoreCap?: number | undefined
  readonly warnings?: ReadonlyArray<string>
}

/** The model of a family with the usual names at its ends (`model.embed_tokens`, `model.norm`, `lm_head`); `layer` is given `model.layers.<index>`. */
export const modelOf = (
  family: string,
  settings: Settings,
  layer: (at: string, index: number) => Layer,
  unusual: Unusual = {}
): Model => {
  const { activation, epsilon, positions, rope, shape, theta, tied } = settings
  const { hidden, vocabulary } = shape
  const layers = Array.from({ length: shape.layers }, (_, index) => layer(`model.layers.${index}`, index))
  const used = new Set(layers.map(({ facts }) => facts.kind === "attention" ? facts.rope : undefined))
  const { head: headOf = head, multiplier = 1, norm = rmsNorm, normName = "model.norm" } = unusual
  const weight = tied ? EMBEDDING : "lm_head.weight"
  const made = decoder(
    {
      family,
      hidden,
      vocabulary,
      heads: shape.heads,
      keyValueHeads: shape.keyValueHeads,
      headSize: shape.headSize,
      intermediate: shape.intermediate,
      positions,
      normEpsilon: epsilon,
      activation: activation.name,
      layers: layers.map(({ facts }) => facts),
      ropes: [rope, ...unusual.ropes ?? []].filter(({ name }) => used.has(name)),
      embedding: { tensor: EMBEDDING, multiplier },
      head: weight,
      ropeTheta: theta,
      logitSoftCap: unusual.logitCap,
      attentionSoftCap: unusual.scoreCap
    },
    layers,
    { finalNorm: norm(normName, hidden, epsilon), head: headOf(weight, hidden, vocabulary) }
  )
  return { ...made, warnings: unusual.warnings ?? [] }
}
