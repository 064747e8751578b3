import { Result, Schema } from "effect"
import type { Architecture } from "./Architecture.ts"
import { projections } from "./block/Attention.ts"
import { linear } from "./block/Block.ts"
import { decode } from "./block/Config.ts"
import { attentionFacts, preNorm } from "./block/Layer.ts"
import { gatedMlp } from "./block/Mlp.ts"
import { rmsNorm } from "./block/Norm.ts"
import { modelOf, settingsFields, settingsKeys, settingsOf } from "./block/Settings.ts"
import { windowFields, windowKeys, windowsOf } from "./block/Window.ts"

const Config = Schema.Struct({ ...settingsFields, ...windowFields }).pipe(
  Schema.encodeKeys({ ...settingsKeys, ...windowKeys })
)

/** Qwen2 and Qwen2.5: biases on q, k and v, which no key of the config tells, and none on the rest. Source: transformers 5.23, models/qwen2. */
export const qwen2 = {
  name: "qwen2",
  aliases: [],
  dtypes: ["bf16", "f16", "f32"],
  read: (config) =>
    Result.gen(function*() {
      const c = yield* decode(Config, config)
      const settings = yield* settingsOf(c, {
        keyValueHeads: c.keyValueHeads === null ? c.heads : 32,
        headSize: undefined,
        positions: 32_768
      })
      const { activation, epsilon, rope, shape } = settings
      const windows = yield* windowsOf(c, shape.layers)
      return modelOf("qwen2", settings, (at, index) =>
        preNorm(shape, attentionFacts(shape, rope.name, windows[index]), {
          inputNorm: rmsNorm(`${at}.input_layernorm`, shape.hidden, epsilon),
          qkv: projections(`${at}.self_attn`, shape, true),
          headNorms: undefined,
          output: linear(`${at}.self_attn.o_proj`, shape.queryWidth, shape.hidden, false),
          middleNorm: rmsNorm(`${at}.post_attention_layernorm`, shape.hidden, epsilon),
          mlp: gatedMlp(`${at}.mlp`, shape, activation, false)
        }))
    })
} as const satisfies Architecture
