import { Result, Schema } from "effect"
import type { Architecture } from "./Architecture.ts"
import { projections } from "./block/Attention.ts"
import { linear } from "./block/Block.ts"
import { decode, optional } from "./block/Config.ts"
import { attentionFacts, preNorm } from "./block/Layer.ts"
import { gatedMlp } from "./block/Mlp.ts"
import { rmsNorm } from "./block/Norm.ts"
import { modelOf, settingsFields, settingsKeys, settingsOf } from "./block/Settings.ts"

const Config = Schema.Struct({
  ...settingsFields,
  attentionBias: optional(Schema.Boolean),
  mlpBias: optional(Schema.Boolean)
}).pipe(Schema.encodeKeys({ ...settingsKeys, attentionBias: "attention_bias", mlpBias: "mlp_bias" }))

/** Llama 1 to 3, SmolLM2, and the many that use their code. Source: transformers 5.23, models/llama. */
export const llama = {
  name: "llama",
  aliases: [],
  dtypes: ["bf16", "f16", "f32"],
  read: (config) =>
    Result.gen(function*() {
      const c = yield* decode(Config, config)
      const settings = yield* settingsOf(c, { keyValueHeads: c.heads, headSize: undefined, positions: 2048 })
      const { activation, epsilon, rope, shape } = settings
      const bias = c.attentionBias ?? false
      return modelOf("llama", settings, (at) =>
        preNorm(shape, attentionFacts(shape, rope.name, undefined), {
          inputNorm: rmsNorm(`${at}.input_layernorm`, shape.hidden, epsilon),
          qkv: projections(`${at}.self_attn`, shape, bias),
          headNorms: undefined,
          output: linear(`${at}.self_attn.o_proj`, shape.queryWidth, shape.hidden, bias),
          middleNorm: rmsNorm(`${at}.post_attention_layernorm`, shape.hidden, epsilon),
          mlp: gatedMlp(`${at}.mlp`, shape, activation, c.mlpBias ?? false)
        }))
    })
} as const satisfies Architecture
