import { Result, Schema } from "effect"
import type { Architecture } from "./Architecture.ts"
import { projections } from "./block/Attention.ts"
import { linear } from "./block/Block.ts"
import { decode, optional, Positions } from "./block/Config.ts"
import { attentionFacts, preNorm } from "./block/Layer.ts"
import { gatedMlp } from "./block/Mlp.ts"
import { rmsNorm } from "./block/Norm.ts"
import { modelOf, settingsFields, settingsKeys, settingsOf } from "./block/Settings.ts"
import { LayerTypes, windowsByType } from "./block/Window.ts"

const Config = Schema.Struct({ ...settingsFields, window: optional(Positions), layerTypes: LayerTypes }).pipe(
  Schema.encodeKeys({ ...settingsKeys, window: "sliding_window", layerTypes: "layer_types" })
)

// Null says "no window"; an absent key does not. Source: transformers 5.23, models/mistral.
const DEFAULT_WINDOW = 4096

/**
 * Mistral 7B and its successors: llama with a window over every layer, unless it is null; with `layer_types` (Ministral) over those
 * that slide. Source: transformers 5.24, models/mistral and ministral, and `AutoConfig`, which takes the one for the other.
 */
export const mistral = {
  name: "mistral",
  aliases: [],
  dtypes: ["bf16", "f16", "f32"],
  read: (config) =>
    Result.gen(function*() {
      const c = yield* decode(Config, config)
      const settings = yield* settingsOf(c, {
        keyValueHeads: c.keyValueHeads === null ? c.heads : 8,
        headSize: undefined,
        positions: 131_072
      })
      const { activation, epsilon, rope, shape } = settings
      const window = c.window === undefined ? DEFAULT_WINDOW : c.window ?? undefined
      const windows = yield* windowsByType(c.layerTypes, shape.layers, window, () => window !== undefined)
      return modelOf("mistral", settings, (at, index) =>
        preNorm(shape, attentionFacts(shape, rope.name, windows[index]), {
          inputNorm: rmsNorm(`${at}.input_layernorm`, shape.hidden, epsilon),
          qkv: projections(`${at}.self_attn`, shape, false),
          headNorms: undefined,
          output: linear(`${at}.self_attn.o_proj`, shape.queryWidth, shape.hidden, false),
          middleNorm: rmsNorm(`${at}.post_attention_layernorm`, shape.hidden, epsilon),
          mlp: gatedMlp(`${at}.mlp`, shape, activation, false)
        }))
    })
} as const satisfies Architecture
