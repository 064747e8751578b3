import { Result, Schema } from "effect"
import type { Architecture } from "./Architecture.ts"
import { projections } from "./block/Attention.ts"
import { linear } from "./block/Block.ts"
import { decode, MOST_LAYERS, optional, Size, wrong } from "./block/Config.ts"
import { attentionFacts, preNorm } from "./block/Layer.ts"
import { gatedMlp } from "./block/Mlp.ts"
import { rmsNorm } from "./block/Norm.ts"
import { modelOf, settingsFields, settingsKeys, settingsOf } from "./block/Settings.ts"
import { windowFields, windowKeys, windowsByType } from "./block/Window.ts"

const Config = Schema.Struct({
  ...settingsFields,
  ...windowFields,
  turning: optional(
    Schema.Array(Schema.Literals([0, 1])).pipe(
      Schema.check(Schema.isMaxLength(MOST_LAYERS, { message: `at most ${MOST_LAYERS} layers` }))
    )
  ),
  interval: optional(Size),
  attentionBias: optional(Schema.Boolean),
  mlpBias: optional(Schema.Boolean)
}).pipe(Schema.encodeKeys({
  ...settingsKeys,
  ...windowKeys,
  turning: "no_rope_layers",
  interval: "no_rope_layer_interval",
  attentionBias: "attention_bias",
  mlpBias: "mlp_bias"
}))

// Source: transformers 5.23, models/smollm3.
const INTERVAL = 4
const THETA = 2_000_000

/** SmolLM3: llama with layers that have no rotary embedding, every fourth one. Source: transformers 5.23, models/smollm3. */
export const smollm3 = {
  name: "smollm3",
  aliases: [],
  dtypes: ["bf16", "f16", "f32"],
  read: (config) =>
    Result.gen(function*() {
      const c = yield* decode(Config, config)
      const settings = yield* settingsOf({ ...c, ropeTheta: c.ropeTheta ?? THETA, tied: c.tied ?? true }, {
        keyValueHeads: c.keyValueHeads === null ? c.heads : 4,
        headSize: undefined,
        positions: 32_768
      })
      const { activation, epsilon, rope, shape } = settings
      // `no_rope_layers` says 1 where there is one.
      const turns = c.turning?.map((turn) => turn === 1) ??
        Array.from({ length: shape.layers }, (_, index) => (index + 1) % (c.interval ?? INTERVAL) !== 0)
      if (turns.length < shape.layers) {
        const expected = `${shape.layers} entries, one for each of num_hidden_layers`
        return yield* Result.fail(wrong("no_rope_layers", expected, `${turns.length} entries`))
      }
      const window = c.useWindow === true ? c.window ?? undefined : undefined
      const windows = yield* windowsByType(
        c.layerTypes,
        shape.layers,
        window,
        (index) => window !== undefined && turns[index] === false
      )
      return modelOf("smollm3", settings, (at, index) =>
        preNorm(shape, attentionFacts(shape, turns[index] === true ? rope.name : undefined, windows[index]), {
          inputNorm: rmsNorm(`${at}.input_layernorm`, shape.hidden, epsilon),
          qkv: projections(`${at}.self_attn`, shape, c.attentionBias ?? false),
          headNorms: undefined,
          output: linear(`${at}.self_attn.o_proj`, shape.queryWidth, shape.hidden, c.attentionBias ?? false),
          middleNorm: rmsNorm(`${at}.post_attention_layernorm`, shape.hidden, epsilon),
          mlp: gatedMlp(`${at}.mlp`, shape, activation, c.mlpBias ?? false)
        }))
    })
} as const satisfies Architecture
