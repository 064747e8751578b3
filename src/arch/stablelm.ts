import { Result, Schema } from "effect"
import type { Architecture } from "./Architecture.ts"
import { projections } from "./block/Attention.ts"
import { linear } from "./block/Block.ts"
import { decode, optional, unsupported } from "./block/Config.ts"
import { attentionFacts, preNorm } from "./block/Layer.ts"
import { gatedMlp } from "./block/Mlp.ts"
import { layerNorm } from "./block/Norm.ts"
import { modelOf, settingsFields, settingsKeys, settingsOf } from "./block/Settings.ts"

const Config = Schema.Struct({
  ...settingsFields,
  qkvBias: optional(Schema.Boolean),
  headNorms: optional(Schema.Boolean),
  parallel: optional(Schema.Boolean)
}).pipe(
  Schema.encodeKeys({
    ...settingsKeys,
    normEpsilon: "layer_norm_eps",
    qkvBias: "use_qkv_bias",
    headNorms: "qk_layernorm",
    parallel: "use_parallel_residual"
  })
)

/** StableLM 3B and 2 1.6B: LayerNorms, and a quarter of each head turns. Source: transformers 5.23, models/stablelm. */
export const stablelm = {
  name: "stablelm",
  aliases: [],
  dtypes: ["bf16", "f16", "f32"],
  read: (config) =>
    Result.gen(function*() {
      const c = yield* decode(Config, config)
      // StableLM 2 12B has both.
      if (c.headNorms === true) return yield* Result.fail(unsupported("qk_layernorm", "false", "true"))
      if (c.parallel === true) return yield* Result.fail(unsupported("use_parallel_residual", "false", "true"))
      const settings = yield* settingsOf({ ...c, normEpsilon: c.normEpsilon ?? 1e-5 }, {
        keyValueHeads: c.keyValueHeads === null ? c.heads : 32,
        headSize: undefined,
        positions: 4096,
        partialRotary: 0.25
      })
      const { activation, epsilon, rope, shape } = settings
      return modelOf("stablelm", settings, (at) =>
        preNorm(shape, attentionFacts(shape, rope.name, undefined), {
          inputNorm: layerNorm(`${at}.input_layernorm`, shape.hidden, epsilon),
          qkv: projections(`${at}.self_attn`, shape, c.qkvBias ?? false),
          headNorms: undefined,
          output: linear(`${at}.self_attn.o_proj`, shape.queryWidth, shape.hidden, false),
          middleNorm: layerNorm(`${at}.post_attention_layernorm`, shape.hidden, epsilon),
          mlp: gatedMlp(`${at}.mlp`, shape, activation, false)
        }), { norm: layerNorm })
    })
} as const satisfies Architecture
