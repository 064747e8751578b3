import { Schema } from "effect"
import { attention, type HeadNorms, projections, type Scores } from "./Attention.ts"
import { chain, linear } from "./Block.ts"
import { optional, Positions, Positive, type Shape } from "./Config.ts"
import { cappedHead } from "./Head.ts"
import { attentionFacts, type Layer, preNorm } from "./Layer.ts"
import { gatedMlp } from "./Mlp.ts"
import { offsetNorm } from "./Norm.ts"
import { type Settings, settingsFields, settingsKeys, type Unusual } from "./Settings.ts"
import { LayerTypes } from "./Window.ts"

/** What the configs of Gemma 2 and 3 say; keys by `gemmaKeys`. */
export const gemmaFields = {
  ...settingsFields,
  attentionBias: optional(Schema.Boolean),
  window: optional(Positions),
  layerTypes: LayerTypes,
  scoreScalar: optional(Positive),
  scoreCap: optional(Positive),
  logitCap: optional(Positive)
} as const

/** Names of `gemmaFields` in config.json. */
export const gemmaKeys = {
  ...settingsKeys,
  activation: "hidden_activation",
  attentionBias: "attention_bias",
  window: "sliding_window",
  layerTypes: "layer_types",
  scoreScalar: "query_pre_attn_scalar",
  scoreCap: "attn_logit_softcapping",
  logitCap: "final_logit_softcapping"
} as const

/** What one layer has that the next may not. */
export interface GemmaLayer {
  readonly rope: string
  readonly window: number | undefined
  readonly bias: boolean
  readonly headNorms: HeadNorms | undefined
  readonly scores: Scores
}

/** A layer of Gemma 2 and 3: a norm by 1 + weight before and behind attention, and before and behind the MLP. */
export const gemmaLayer = (
  at: string,
  { activation, epsilon, shape }: Settings,
  { bias, headNorms, rope, scores, window }: GemmaLayer
): Layer => {
  const norm = (name: string) => offsetNorm(`${at}.${name}`, shape.hidden, epsilon)
  return preNorm(
    shape,
    attentionFacts(shape, rope, window),
    {
      inputNorm: norm("input_layernorm"),
      qkv: projections(`${at}.self_attn`, shape, bias),
      headNorms,
      output: chain([
        linear(`${at}.self_attn.o_proj`, shape.queryWidth, shape.hidden, bias),
        norm("post_attention_layernorm")
      ]),
      middleNorm: norm("pre_feedforward_layernorm"),
      mlp: chain([gatedMlp(`${at}.mlp`, shape, activation, false), norm("post_feedforward_layernorm")])
    },
    attention(shape, scores)
  )
}

/** What Gemma 2 and 3 have around their layers. */
export const gemmaUnusual = (
  { hidden }: Shape,
  scoreCap: number | undefined,
  logitCap: number | undefined
): Unusual => ({
  multiplier: Math.sqrt(hidden),
  norm: offsetNorm,
  scoreCap,
  logitCap,
  ...(logitCap === undefined ? {} : { head: cappedHead(logitCap) })
})
