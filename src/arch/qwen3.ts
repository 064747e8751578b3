import { Result, Schema } from "effect"
import type { Architecture } from "./Architecture.ts"
import { projections } from "./block/Attention.ts"
import { linear } from "./block/Block.ts"
import { decode, optional } from "./block/Config.ts"
import { attentionFacts, preNorm } from "./block/Layer.ts"
import { gatedMlp } from "./block/Mlp.ts"
import { perHead, rmsNorm } from "./block/Norm.ts"
import { modelOf, settingsFields, settingsKeys, settingsOf } from "./block/Settings.ts"
import { windowFields, windowKeys, windowsOf } from "./block/Window.ts"

const Config = Schema.Struct({ ...settingsFields, ...windowFields, attentionBias: optional(Schema.Boolean) }).pipe(
  Schema.encodeKeys({ ...settingsKeys, ...windowKeys, attentionBias: "attention_bias" })
)

/** Qwen3, dense: a norm over each head of q and of k before the rotary embedding. Source: transformers 5.23, models/qwen3. */
export const qwen3 = {
  name: "qwen3",
  aliases: [],
  dtypes: ["bf16", "f16", "f32"],
  read: (config) =>
    Result.gen(function*() {
      const c = yield* decode(Config, config)
      const settings = yield* settingsOf(c, {
        keyValueHeads: c.keyValueHeads === null ? c.heads : 32,
        headSize: c.headSize === null ? undefined : 128,
        positions: 32_768
      })
      const { activation, epsilon, rope, shape } = settings
      const { headSize, heads, keyValueHeads } = shape
      const windows = yield* windowsOf(c, shape.layers)
      const bias = c.attentionBias ?? false
      return modelOf("qwen3", settings, (at, index) =>
        preNorm(shape, attentionFacts(shape, rope.name, windows[index]), {
          inputNorm: rmsNorm(`${at}.input_layernorm`, shape.hidden, epsilon),
          qkv: projections(`${at}.self_attn`, shape, bias),
          headNorms: {
            q: perHead(rmsNorm(`${at}.self_attn.q_norm`, headSize, epsilon), heads, headSize),
            k: perHead(rmsNorm(`${at}.self_attn.k_norm`, headSize, epsilon), keyValueHeads, headSize)
          },
          output: linear(`${at}.self_attn.o_proj`, shape.queryWidth, shape.hidden, bias),
          middleNorm: rmsNorm(`${at}.post_attention_layernorm`, shape.hidden, epsilon),
          mlp: gatedMlp(`${at}.mlp`, shape, activation, false)
        }))
    })
} as const satisfies Architecture
