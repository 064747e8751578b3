import { Result } from "effect"
import type { Model, Rope } from "../Architecture.ts"
import { decoderFields, decoderKeys, type Read, type Shape, shapeOf, type Sizes } from "./Config.ts"
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
}

/** What a family takes where its config has no key, or null. */
export interface Defaults {
  readonly keyValueHeads: number
  /** undefined: hidden / heads */
  readonly headSize: number | undefined
  readonly positions: number
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
    const keyValueHeads = config.keyValueHeads ?? defaults.keyValueHeads
    const shape = yield* shapeOf(config, keyValueHeads, config.headSize ?? defaults.headSize)
    const positions = config.positions ?? defaults.positions
    const { rope, theta } = yield* soleRope(config, shape.headSize, positions)
    const activation = yield* activationOf(config.activation ?? "silu")
    const epsilon = config.normEpsilon ?? 1e-6
    return { shape, positions, epsilon, activation, rope, theta, tied: config.tied ?? false }
  })

const EMBEDDING = "model.embed_tokens.weight"

/** The model of a family with the usual names at its ends (`model.embed_tokens`, `model.norm`, `lm_head`); `layer` is given `model.layers.<index>`. */
export const modelOf = (family: string, settings: Settings, layer: (at: string, index: number) => Layer): Model => {
  const { activation, epsilon, positions, rope, shape, theta, tied } = settings
  const { hidden, vocabulary } = shape
  const layers = Array.from({ length: shape.layers }, (_, index) => layer(`model.layers.${index}`, index))
  const weight = tied ? EMBEDDING : "lm_head.weight"
  return decoder(
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
      ropes: [rope],
      embedding: { tensor: EMBEDDING, multiplier: 1 },
      head: weight,
      ropeTheta: theta,
      logitSoftCap: undefined,
      attentionSoftCap: undefined
    },
    layers,
    { finalNorm: rmsNorm("model.norm", hidden, epsilon), head: head(weight, hidden, vocabulary) }
  )
}
