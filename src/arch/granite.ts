import { Result, Schema } from "effect"
import type { Architecture } from "./Architecture.ts"
import { attention, projections } from "./block/Attention.ts"
import { chain, linear, scaled } from "./block/Block.ts"
import { decode, optional, Positive } from "./block/Config.ts"
import { scaledHead } from "./block/Head.ts"
import { attentionFacts, preNorm } from "./block/Layer.ts"
import { gatedMlp } from "./block/Mlp.ts"
import { rmsNorm } from "./block/Norm.ts"
import { modelOf, settingsFields, settingsKeys, settingsOf } from "./block/Settings.ts"

const Config = Schema.Struct({
  ...settingsFields,
  attentionBias: optional(Schema.Boolean),
  mlpBias: optional(Schema.Boolean),
  embeddingMultiplier: optional(Positive),
  attentionMultiplier: optional(Positive),
  residualMultiplier: optional(Positive),
  logitsScaling: optional(Positive)
}).pipe(Schema.encodeKeys({
  ...settingsKeys,
  attentionBias: "attention_bias",
  mlpBias: "mlp_bias",
  embeddingMultiplier: "embedding_multiplier",
  attentionMultiplier: "attention_multiplier",
  residualMultiplier: "residual_multiplier",
  logitsScaling: "logits_scaling"
}))

/**
 * Granite 3: llama with factors on embeddings, scores (in the place of `headSize^-0.5`) and what is added to the residual, and logits
 * divided by one; each is 1 where the config has none. Source: transformers 5.23, models/granite.
 */
export const granite = {
  name: "granite",
  aliases: [],
  dtypes: ["bf16", "f16", "f32"],
  read: (config) =>
    Result.gen(function*() {
      const c = yield* decode(Config, config)
      const settings = yield* settingsOf(c, { keyValueHeads: c.heads, headSize: undefined, positions: 2048 })
      const { activation, epsilon, rope, shape } = settings
      const bias = c.attentionBias ?? false
      const added = scaled(c.residualMultiplier ?? 1)
      return modelOf("granite", settings, (at) =>
        preNorm(shape, attentionFacts(shape, rope.name, undefined), {
          inputNorm: rmsNorm(`${at}.input_layernorm`, shape.hidden, epsilon),
          qkv: projections(`${at}.self_attn`, shape, bias),
          headNorms: undefined,
          output: chain([linear(`${at}.self_attn.o_proj`, shape.queryWidth, shape.hidden, bias), added]),
          middleNorm: rmsNorm(`${at}.post_attention_layernorm`, shape.hidden, epsilon),
          mlp: chain([gatedMlp(`${at}.mlp`, shape, activation, c.mlpBias ?? false), added])
        }, attention(shape, { scale: c.attentionMultiplier ?? 1, cap: undefined })), {
        multiplier: c.embeddingMultiplier ?? 1,
        head: scaledHead(1 / (c.logitsScaling ?? 1))
      })
    })
} as const satisfies Architecture
