import { Result, Schema } from "effect"
import type { Architecture } from "./Architecture.ts"
import { projections } from "./block/Attention.ts"
import { linear } from "./block/Block.ts"
import { decode, MOST_LAYERS, optional, Positions, Size } from "./block/Config.ts"
import { expertCounts, expertFields, expertKeys, gatedExperts, mixture } from "./block/Experts.ts"
import { attentionFacts, preNorm } from "./block/Layer.ts"
import { gatedMlp } from "./block/Mlp.ts"
import { perHead, rmsNorm } from "./block/Norm.ts"
import { modelOf, settingsFields, settingsKeys, settingsOf } from "./block/Settings.ts"

const Config = Schema.Struct({
  ...settingsFields,
  ...expertFields,
  attentionBias: optional(Schema.Boolean),
  renormalised: optional(Schema.Boolean),
  expertWidth: optional(Size),
  step: optional(Size),
  dense: optional(
    Schema.Array(Schema.Int).pipe(
      Schema.check(Schema.isMaxLength(MOST_LAYERS, { message: `at most ${MOST_LAYERS} layers` }))
    )
  ),
  useWindow: optional(Schema.Boolean),
  window: optional(Positions)
}).pipe(
  Schema.encodeKeys({
    ...settingsKeys,
    ...expertKeys,
    attentionBias: "attention_bias",
    renormalised: "norm_topk_prob",
    expertWidth: "moe_intermediate_size",
    step: "decoder_sparse_step",
    dense: "mlp_only_layers",
    useWindow: "use_sliding_window",
    window: "sliding_window"
  })
)

// Source: transformers 5.23, models/qwen3_moe.
const EXPERT_WIDTH = 768
const WINDOW = 4096

/** Qwen3 with experts in every layer, or in some and a dense MLP in the others. Source: transformers 5.23, models/qwen3_moe. */
export const qwen3_moe = {
  name: "qwen3_moe",
  aliases: [],
  dtypes: ["bf16", "f16", "f32"],
  read: (config) =>
    Result.gen(function*() {
      const c = yield* decode(Config, config)
      const settings = yield* settingsOf(c, {
        keyValueHeads: c.keyValueHeads === null ? c.heads : 4,
        headSize: undefined,
        positions: 32_768
      })
      const { activation, epsilon, rope, shape } = settings
      const { headSize, heads, hidden, keyValueHeads } = shape
      const counts = yield* expertCounts(c, shape.layers, { experts: 128, perToken: 8 })
      const expertShape = { hidden, intermediate: c.expertWidth ?? EXPERT_WIDTH }
      const dense = new Set(c.dense)
      const isDense = (index: number) => dense.has(index) || (index + 1) % (c.step ?? 1) !== 0
      const window = c.useWindow === true ? c.window === undefined ? WINDOW : c.window ?? undefined : undefined
      const bias = c.attentionBias ?? false
      return modelOf("qwen3_moe", settings, (at, index) =>
        preNorm(shape, attentionFacts(shape, rope.name, window), {
          inputNorm: rmsNorm(`${at}.input_layernorm`, hidden, epsilon),
          qkv: projections(`${at}.self_attn`, shape, bias),
          headNorms: {
            q: perHead(rmsNorm(`${at}.self_attn.q_norm`, headSize, epsilon), heads, headSize),
            k: perHead(rmsNorm(`${at}.self_attn.k_norm`, headSize, epsilon), keyValueHeads, headSize)
          },
          output: linear(`${at}.self_attn.o_proj`, shape.queryWidth, hidden, bias),
          middleNorm: rmsNorm(`${at}.post_attention_layernorm`, hidden, epsilon),
          mlp: isDense(index)
            ? gatedMlp(`${at}.mlp`, shape, activation, false)
            : mixture(
              { ...counts, router: `${at}.mlp.gate`, bias: false, shares: c.renormalised === true ? "chosen" : "all" },
              hidden,
              gatedExperts(`${at}.mlp.experts`, expertShape, activation)
            )
        }))
    })
} as const satisfies Architecture
