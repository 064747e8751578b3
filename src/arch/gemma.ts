import { Result, Schema } from "effect"
import type { Architecture } from "./Architecture.ts"
import { projections } from "./block/Attention.ts"
import { linear } from "./block/Block.ts"
import { decode, optional } from "./block/Config.ts"
import { attentionFacts, preNorm } from "./block/Layer.ts"
import { gatedMlp } from "./block/Mlp.ts"
import { offsetNorm } from "./block/Norm.ts"
import { modelOf, settingsFields, settingsKeys, settingsOf } from "./block/Settings.ts"

const Config = Schema.Struct({ ...settingsFields, attentionBias: optional(Schema.Boolean) }).pipe(
  Schema.encodeKeys({ ...settingsKeys, attentionBias: "attention_bias" })
)

// The first files say "gelu" and mean, as the model was trained with, its tanh form.
const renamed = (activation: string): string => activation === "gelu" ? "gelu_pytorch_tanh" : activation

/** Gemma 1: embeddings times the root of the width, norms by 1 + weight; its files' `hidden_activation` is not read. Source: transformers 5.24, models/gemma. */
export const gemma = {
  name: "gemma",
  aliases: [],
  dtypes: ["bf16", "f16", "f32"],
  read: (config) =>
    Result.gen(function*() {
      const c = yield* decode(Config, config)
      const activationName = renamed(c.activation ?? "gelu_pytorch_tanh")
      const settings = yield* settingsOf({ ...c, activation: activationName, tied: c.tied ?? true }, {
        keyValueHeads: c.keyValueHeads === null ? c.heads : 16,
        headSize: 256,
        positions: 8192
      })
      const { activation, epsilon, rope, shape } = settings
      const bias = c.attentionBias ?? false
      return modelOf("gemma", settings, (at) =>
        preNorm(shape, attentionFacts(shape, rope.name, undefined), {
          inputNorm: offsetNorm(`${at}.input_layernorm`, shape.hidden, epsilon),
          qkv: projections(`${at}.self_attn`, shape, bias),
          headNorms: undefined,
          output: linear(`${at}.self_attn.o_proj`, shape.queryWidth, shape.hidden, bias),
          middleNorm: offsetNorm(`${at}.post_attention_layernorm`, shape.hidden, epsilon),
          mlp: gatedMlp(`${at}.mlp`, shape, activation, false)
        }), { multiplier: Math.sqrt(shape.hidden), norm: offsetNorm })
    })
} as const satisfies Architecture
