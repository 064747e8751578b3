import { Result, Schema } from "effect"
import type { Architecture } from "./Architecture.ts"
import { projections } from "./block/Attention.ts"
import { linear } from "./block/Block.ts"
import { decode, optional, unsupported } from "./block/Config.ts"
import { expertCounts, expertFields, expertKeys, gatedExperts, mixture } from "./block/Experts.ts"
import { attentionFacts, preNorm } from "./block/Layer.ts"
import { rmsNorm } from "./block/Norm.ts"
import { modelOf, settingsFields, settingsKeys, settingsOf } from "./block/Settings.ts"

const Config = Schema.Struct({
  ...settingsFields,
  ...expertFields,
  attentionBias: optional(Schema.Boolean),
  renormalised: optional(Schema.Boolean),
  clip: optional(Schema.Finite)
}).pipe(
  Schema.encodeKeys({
    ...settingsKeys,
    ...expertKeys,
    attentionBias: "attention_bias",
    renormalised: "norm_topk_prob",
    clip: "clip_qkv"
  })
)

/** OLMoE: experts in every layer; q and k are normed over all heads at once. Source: transformers 5.23, models/olmoe. */
export const olmoe = {
  name: "olmoe",
  aliases: [],
  dtypes: ["bf16", "f16", "f32"],
  read: (config) =>
    Result.gen(function*() {
      const c = yield* decode(Config, config)
      const { clip } = c
      if (typeof clip === "number") return yield* Result.fail(unsupported("clip_qkv", "null", `${clip}`))
      const settings = yield* settingsOf({ ...c, normEpsilon: c.normEpsilon ?? 1e-5 }, {
        keyValueHeads: c.heads,
        headSize: undefined,
        positions: 4096
      })
      const { activation, epsilon, rope, shape } = settings
      const { cacheWidth, hidden, queryWidth } = shape
      const counts = yield* expertCounts(c, shape.layers, { experts: 64, perToken: 8 })
      const bias = c.attentionBias ?? false
      return modelOf("olmoe", settings, (at) =>
        preNorm(shape, attentionFacts(shape, rope.name, undefined), {
          inputNorm: rmsNorm(`${at}.input_layernorm`, hidden, epsilon),
          qkv: projections(`${at}.self_attn`, shape, bias),
          headNorms: {
            q: rmsNorm(`${at}.self_attn.q_norm`, queryWidth, epsilon),
            k: rmsNorm(`${at}.self_attn.k_norm`, cacheWidth, epsilon)
          },
          output: linear(`${at}.self_attn.o_proj`, queryWidth, hidden, bias),
          middleNorm: rmsNorm(`${at}.post_attention_layernorm`, hidden, epsilon),
          mlp: mixture(
            { ...counts, router: `${at}.mlp.gate`, bias: false, shares: c.renormalised === true ? "chosen" : "all" },
            hidden,
            gatedExperts(`${at}.mlp.experts`, shape, activation)
          )
        }))
    })
} as const satisfies Architecture
