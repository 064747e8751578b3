import { Result, Schema } from "effect"
import type { Architecture } from "./Architecture.ts"
import { projections } from "./block/Attention.ts"
import { chain, linear, unchanged } from "./block/Block.ts"
import { decode, optional } from "./block/Config.ts"
import { attentionFacts, preNorm } from "./block/Layer.ts"
import { gatedMlp } from "./block/Mlp.ts"
import { rmsNorm } from "./block/Norm.ts"
import { modelOf, settingsFields, settingsKeys, settingsOf } from "./block/Settings.ts"

const Config = Schema.Struct({ ...settingsFields, attentionBias: optional(Schema.Boolean) }).pipe(
  Schema.encodeKeys({ ...settingsKeys, attentionBias: "attention_bias" })
)

/** OLMo 2: norms behind attention and MLP, not before; q and k are normed over all heads at once. Source: transformers 5.23, models/olmo2. */
export const olmo2 = {
  name: "olmo2",
  aliases: [],
  dtypes: ["bf16", "f16", "f32"],
  read: (config) =>
    Result.gen(function*() {
      const c = yield* decode(Config, config)
      const settings = yield* settingsOf({ ...c, normEpsilon: c.normEpsilon ?? 1e-5 }, {
        keyValueHeads: c.heads,
        headSize: undefined,
        positions: 2048
      })
      const { activation, epsilon, rope, shape } = settings
      const { cacheWidth, hidden, queryWidth } = shape
      const bias = c.attentionBias ?? false
      return modelOf("olmo2", settings, (at) =>
        preNorm(shape, attentionFacts(shape, rope.name, undefined), {
          inputNorm: unchanged,
          qkv: projections(`${at}.self_attn`, shape, bias),
          headNorms: {
            q: rmsNorm(`${at}.self_attn.q_norm`, queryWidth, epsilon),
            k: rmsNorm(`${at}.self_attn.k_norm`, cacheWidth, epsilon)
          },
          output: chain([
            linear(`${at}.self_attn.o_proj`, queryWidth, hidden, bias),
            rmsNorm(`${at}.post_attention_layernorm`, hidden, epsilon)
          ]),
          middleNorm: unchanged,
          mlp: chain([
            gatedMlp(`${at}.mlp`, shape, activation, false),
            rmsNorm(`${at}.post_feedforward_layernorm`, hidden, epsilon)
          ])
        }))
    })
} as const satisfies Architecture
