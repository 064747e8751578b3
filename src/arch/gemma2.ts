import { Result, Schema } from "effect"
import type { Architecture } from "./Architecture.ts"
import { decode } from "./block/Config.ts"
import { gemmaFields, gemmaKeys, gemmaLayer, gemmaUnusual } from "./block/Gemma.ts"
import { modelOf, settingsOf } from "./block/Settings.ts"
import { windowsByType } from "./block/Window.ts"

const Config = Schema.Struct(gemmaFields).pipe(Schema.encodeKeys(gemmaKeys))

// What an absent key means; null says "no cap". Source: transformers 5.23, models/gemma2.
const SCORE_CAP = 50
const LOGIT_CAP = 30

/** Gemma 2: four norms a layer, caps on scores and logits, a window in every other layer. Source: transformers 5.23, models/gemma2. */
export const gemma2 = {
  name: "gemma2",
  aliases: [],
  dtypes: ["bf16", "f16", "f32"],
  read: (config) =>
    Result.gen(function*() {
      const c = yield* decode(Config, config)
      const settings = yield* settingsOf(
        { ...c, activation: c.activation ?? "gelu_pytorch_tanh", tied: c.tied ?? true },
        {
          keyValueHeads: c.keyValueHeads === null ? c.heads : 4,
          headSize: 256,
          positions: 8192,
          activationKey: gemmaKeys.activation
        }
      )
      const { rope, shape } = settings
      const window = c.window === undefined ? 4096 : c.window ?? undefined
      const windows = yield* windowsByType(c.layerTypes, shape.layers, window, (index) => index % 2 === 0)
      const scores = {
        scale: (c.scoreScalar ?? 256) ** -0.5,
        cap: c.scoreCap === undefined ? SCORE_CAP : c.scoreCap ?? undefined
      }
      const logitCap = c.logitCap === undefined ? LOGIT_CAP : c.logitCap ?? undefined
      return modelOf(
        "gemma2",
        settings,
        (at, index) =>
          gemmaLayer(at, settings, {
            rope: rope.name,
            window: windows[index],
            bias: c.attentionBias ?? false,
            headNorms: undefined,
            scores
          }),
        gemmaUnusual(shape, scores.cap, logitCap)
      )
    })
} as const satisfies Architecture
