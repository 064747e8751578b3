import { Result, Schema } from "effect"
import type { Architecture } from "./Architecture.ts"
import { projections } from "./block/Attention.ts"
import { beside, linear } from "./block/Block.ts"
import { decode, MOST_LAYERS, optional, Positive, Size, unsupported, wrong } from "./block/Config.ts"
import { shortConvolution } from "./block/Convolution.ts"
import { attentionFacts, preNorm } from "./block/Layer.ts"
import { gated } from "./block/Mlp.ts"
import { perHead, rmsNorm } from "./block/Norm.ts"
import { modelOf, settingsFields, settingsKeys, settingsOf } from "./block/Settings.ts"

const atMost = Schema.isMaxLength(MOST_LAYERS, { message: `at most ${MOST_LAYERS} layers` })

const Config = Schema.Struct({
  ...settingsFields,
  intermediate: optional(Size),
  blockWidth: optional(Size),
  adjusts: optional(Schema.Boolean),
  multiplier: optional(Positive),
  multiple: optional(Size),
  blockTied: optional(Schema.Boolean),
  kernel: optional(Size),
  bias: optional(Schema.Boolean),
  layerTypes: optional(Schema.Array(Schema.Literals(["conv", "full_attention"])).pipe(Schema.check(atMost))),
  attends: optional(Schema.Array(Schema.Int).pipe(Schema.check(atMost)))
}).pipe(Schema.encodeKeys({
  ...settingsKeys,
  normEpsilon: "norm_eps",
  blockWidth: "block_ff_dim",
  adjusts: "block_auto_adjust_ff_dim",
  multiplier: "block_ffn_dim_multiplier",
  multiple: "block_multiple_of",
  blockTied: "tie_embedding",
  kernel: "conv_L_cache",
  bias: "conv_bias",
  layerTypes: "layer_types",
  attends: "full_attn_idxs"
}))
type Config = typeof Config.Type

// Source: transformers 5.23, models/lfm2.
const THETA = 1_000_000
const MULTIPLE = 256
const KERNEL = 3

/** Width of the MLP: two thirds of what the config says, times a factor, up to a whole multiple. */
const adjusted = (width: number, { adjusts, multiple, multiplier }: Config): number => {
  if (adjusts === false) return width
  const part = Math.trunc(2 * width / 3)
  if (multiplier === null) return part
  const unit = multiple ?? MULTIPLE
  return unit * Math.ceil(Math.trunc((multiplier ?? 1) * part) / unit)
}

/** LFM2: short convolutions, and attention with a norm over each head of q and of k in some layers. Source: transformers 5.23, models/lfm2. */
export const lfm2 = {
  name: "lfm2",
  aliases: [],
  dtypes: ["bf16", "f16", "f32"],
  read: (config) =>
    Result.gen(function*() {
      const c = yield* decode(Config, config)
      const width = c.blockWidth ?? c.intermediate ?? undefined
      if (width === undefined) return yield* Result.fail(wrong("block_ff_dim", "a value", "nothing"))
      const settings = yield* settingsOf({
        ...c,
        intermediate: adjusted(width, c),
        ropeTheta: c.ropeTheta ?? THETA,
        normEpsilon: c.normEpsilon ?? 1e-5,
        activation: "silu",
        tied: c.blockTied ?? c.tied ?? true
      }, { keyValueHeads: c.keyValueHeads === null ? c.heads : 8, headSize: undefined, positions: 128_000 })
      const { activation, epsilon, rope, shape } = settings
      const { headSize, heads, hidden, intermediate, keyValueHeads, queryWidth } = shape
      const attends = c.layerTypes?.map((type) => type === "full_attention") ??
        Array.from({ length: shape.layers }, (_, index) => c.attends?.includes(index) ?? true)
      if (attends.length !== shape.layers) {
        const expected = `${shape.layers} entries, one for each of num_hidden_layers`
        return yield* Result.fail(wrong("layer_types", expected, `${attends.length} entries`))
      }
      const size = c.kernel ?? KERNEL
      if (size < 2) return yield* Result.fail(unsupported("conv_L_cache", "2 or more", `${size}`))
      const bias = c.bias ?? false
      return modelOf("lfm2", settings, (at, index) => {
        const ends = {
          inputNorm: rmsNorm(`${at}.operator_norm`, hidden, epsilon),
          middleNorm: rmsNorm(`${at}.ffn_norm`, hidden, epsilon),
          mlp: gated(
            beside(["w1", "w3"].map((name) => linear(`${at}.feed_forward.${name}`, hidden, intermediate, false))),
            intermediate,
            activation,
            linear(`${at}.feed_forward.w2`, intermediate, hidden, false)
          )
        }
        return attends[index] === true
          ? preNorm(shape, attentionFacts(shape, rope.name, undefined), {
            ...ends,
            qkv: projections(`${at}.self_attn`, shape, false),
            headNorms: {
              q: perHead(rmsNorm(`${at}.self_attn.q_layernorm`, headSize, epsilon), heads, headSize),
              k: perHead(rmsNorm(`${at}.self_attn.k_layernorm`, headSize, epsilon), keyValueHeads, headSize)
            },
            output: linear(`${at}.self_attn.out_proj`, queryWidth, hidden, false)
          })
          : shortConvolution(hidden, {
            ...ends,
            input: linear(`${at}.conv.in_proj`, hidden, 3 * hidden, bias),
            kernel: { name: `${at}.conv.conv`, size, bias },
            output: linear(`${at}.conv.out_proj`, hidden, hidden, bias)
          })
      }, { normName: "model.embedding_norm" })
    })
} as const satisfies Architecture
