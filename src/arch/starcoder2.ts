import { Result, Schema } from "effect"
import type { Architecture } from "./Architecture.ts"
import { projections } from "./block/Attention.ts"
import { linear } from "./block/Block.ts"
import { decode, optional, Positions } from "./block/Config.ts"
import { attentionFacts, preNorm } from "./block/Layer.ts"
import { plainMlp } from "./block/Mlp.ts"
import { layerNorm } from "./block/Norm.ts"
import { modelOf, settingsFields, settingsKeys, settingsOf } from "./block/Settings.ts"

const Config = Schema.Struct({
  ...settingsFields,
  window: optional(Positions),
  bias: optional(Schema.Boolean)
}).pipe(
  Schema.encodeKeys({
    ...settingsKeys,
    normEpsilon: "norm_epsilon",
    window: "sliding_window",
    bias: "use_bias"
  })
)

/** StarCoder2: LayerNorms, an MLP without a gate, biases everywhere. Source: transformers 5.23, models/starcoder2. */
export const starcoder2 = {
  name: "starcoder2",
  aliases: [],
  dtypes: ["bf16", "f16", "f32"],
  read: (config) =>
    Result.gen(function*() {
      const c = yield* decode(Config, config)
      const settings = yield* settingsOf({
        ...c,
        normEpsilon: c.normEpsilon ?? 1e-5,
        activation: c.activation ?? "gelu_pytorch_tanh",
        tied: c.tied ?? true
      }, {
        keyValueHeads: c.keyValueHeads === null ? c.heads : 2,
        headSize: undefined,
        positions: 4096
      })
      const { activation, epsilon, rope, shape } = settings
      const { hidden, intermediate, queryWidth } = shape
      const bias = c.bias ?? true
      return modelOf("starcoder2", settings, (at) =>
        preNorm(shape, attentionFacts(shape, rope.name, c.window ?? undefined), {
          inputNorm: layerNorm(`${at}.input_layernorm`, hidden, epsilon),
          qkv: projections(`${at}.self_attn`, shape, bias),
          headNorms: undefined,
          output: linear(`${at}.self_attn.o_proj`, queryWidth, hidden, bias),
          middleNorm: layerNorm(`${at}.post_attention_layernorm`, hidden, epsilon),
          mlp: plainMlp(
            linear(`${at}.mlp.c_fc`, hidden, intermediate, bias),
            activation,
            linear(`${at}.mlp.c_proj`, intermediate, hidden, bias)
          )
        }), { norm: layerNorm })
    })
} as const satisfies Architecture
