import { Result, Schema } from "effect"
import type { Architecture } from "./Architecture.ts"
import { decode, optional, Positive, Size } from "./block/Config.ts"
import { gemmaFields, gemmaKeys, gemmaLayer, gemmaUnusual } from "./block/Gemma.ts"
import { offsetNorm, perHead } from "./block/Norm.ts"
import { ropeOf, RopeSettings } from "./block/Rope.ts"
import { modelOf, settingsOf } from "./block/Settings.ts"
import { windowsByType } from "./block/Window.ts"

const Config = Schema.Struct({
  ...gemmaFields,
  ropeParameters: optional(Schema.Struct({ full_attention: RopeSettings, sliding_attention: RopeSettings })),
  localTheta: optional(Positive),
  pattern: optional(Size)
}).pipe(Schema.encodeKeys({
  ...gemmaKeys,
  localTheta: "rope_local_base_freq",
  pattern: "sliding_window_pattern"
}))

// Five layers with a window, one without. Source: transformers 5.23, models/gemma3.
const PATTERN = 6
const THETA = 1_000_000
const LOCAL_THETA = 10_000

// transformers keeps both keys in this family and reads neither: `truncate` of settings by type of layer, and the cap on scores.
const truncating = (settings: RopeSettings): RopeSettings => ({ ...settings, truncate: true })
const uncapped =
  "config.json has attn_logit_softcapping, which transformers does not apply in gemma3_text: attention scores are not capped"

/** Gemma 3, its language model: norms of each head, and a rotary embedding of their own for layers with a window. Source: transformers 5.23, models/gemma3. */
export const gemma3_text = {
  name: "gemma3_text",
  aliases: [],
  dtypes: ["bf16", "f16", "f32"],
  read: (config) =>
    Result.gen(function*() {
      const c = yield* decode(Config, config)
      const nested = c.ropeParameters ?? undefined
      const settings = yield* settingsOf({
        ...c,
        ropeTheta: c.ropeTheta ?? THETA,
        ropeScaling: c.ropeScaling ? truncating({ ...nested?.full_attention, ...c.ropeScaling }) : null,
        ropeParameters: nested ? truncating(nested.full_attention) : null,
        originalPositions: null,
        activation: c.activation ?? "gelu_pytorch_tanh",
        tied: c.tied ?? true
      }, {
        keyValueHeads: c.keyValueHeads === null ? c.heads : 4,
        headSize: 256,
        positions: 131_072,
        activationKey: gemmaKeys.activation
      })
      const { epsilon, positions, rope, shape } = settings
      const { headSize, heads, keyValueHeads } = shape
      // `rope_scaling` is of the layers without a window.
      const sliding = yield* ropeOf({
        name: "sliding",
        path: "rope_parameters.sliding_attention",
        settings: truncating(nested?.sliding_attention ?? {}),
        theta: nested?.sliding_attention.rope_theta ?? c.localTheta ?? LOCAL_THETA,
        rotary: headSize,
        positions,
        originalPositions: undefined
      })
      const pattern = c.pattern ?? PATTERN
      const window = c.window === undefined ? 4096 : c.window ?? undefined
      const windows = yield* windowsByType(c.layerTypes, shape.layers, window, (index) => (index + 1) % pattern !== 0)
      const scores = { scale: (c.scoreScalar ?? 256) ** -0.5, cap: undefined }
      return modelOf("gemma3_text", settings, (at, index) =>
        gemmaLayer(at, settings, {
          rope: windows[index] === undefined ? rope.name : sliding.name,
          window: windows[index],
          bias: c.attentionBias ?? false,
          headNorms: {
            q: perHead(offsetNorm(`${at}.self_attn.q_norm`, headSize, epsilon), heads, headSize),
            k: perHead(offsetNorm(`${at}.self_attn.k_norm`, headSize, epsilon), keyValueHeads, headSize)
          },
          scores
        }), {
        ...gemmaUnusual(shape, scores.cap, c.logitCap ?? undefined),
        ropes: [sliding],
        warnings: typeof c.scoreCap === "number" ? [uncapped] : []
      })
    })
} as const satisfies Architecture
