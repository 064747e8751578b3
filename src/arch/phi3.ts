import { Result, Schema } from "effect"
import type { Architecture, Rope } from "./Architecture.ts"
import { linear } from "./block/Block.ts"
import { decode, optional, Positions } from "./block/Config.ts"
import { attentionFacts, preNorm } from "./block/Layer.ts"
import { gated } from "./block/Mlp.ts"
import { rmsNorm } from "./block/Norm.ts"
import type { RopeSettings } from "./block/Rope.ts"
import { modelOf, settingsFields, settingsKeys, settingsOf } from "./block/Settings.ts"

const Config = Schema.Struct({ ...settingsFields, window: optional(Positions) }).pipe(
  Schema.encodeKeys({ ...settingsKeys, window: "sliding_window" })
)

// The first files call longrope by these names. Source: transformers 5.23, models/phi3.
const oldNames: ReadonlySet<string> = new Set(["su", "yarn"])

const renamed = (settings: RopeSettings): RopeSettings =>
  oldNames.has(settings.rope_type ?? settings.type ?? "") ? { ...settings, rope_type: "longrope" } : settings

/** Past the border this family, and no other, drops its cache. Source: transformers 5.24, models/phi3, `prepare_inputs_for_generation`. */
const turnedAgain = (rope: Rope): Rope =>
  rope.long === undefined ? rope : { ...rope, long: { ...rope.long, keeps: false } }

/** Phi-3, 3.5 and 4-mini: q, k and v in one matrix, gate and up in another. Source: transformers 5.23, models/phi3. */
export const phi3 = {
  name: "phi3",
  aliases: [],
  dtypes: ["bf16", "f16", "f32"],
  read: (config) =>
    Result.gen(function*() {
      const c = yield* decode(Config, config)
      const read = yield* settingsOf({
        ...c,
        normEpsilon: c.normEpsilon ?? 1e-5,
        originalPositions: c.originalPositions ?? 4096,
        ...(c.ropeScaling ? { ropeScaling: renamed(c.ropeScaling) } : {}),
        ...(c.ropeParameters ? { ropeParameters: renamed(c.ropeParameters) } : {})
      }, { keyValueHeads: c.heads, headSize: undefined, positions: 4096, partialRotary: 1 })
      const settings = { ...read, rope: turnedAgain(read.rope) }
      const { activation, epsilon, rope, shape } = settings
      const { cacheWidth, hidden, intermediate, queryWidth } = shape
      return modelOf("phi3", settings, (at) =>
        preNorm(shape, attentionFacts(shape, rope.name, c.window ?? undefined), {
          inputNorm: rmsNorm(`${at}.input_layernorm`, hidden, epsilon),
          qkv: linear(`${at}.self_attn.qkv_proj`, hidden, queryWidth + 2 * cacheWidth, false),
          headNorms: undefined,
          output: linear(`${at}.self_attn.o_proj`, queryWidth, hidden, false),
          middleNorm: rmsNorm(`${at}.post_attention_layernorm`, hidden, epsilon),
          mlp: gated(
            linear(`${at}.mlp.gate_up_proj`, hidden, 2 * intermediate, false),
            intermediate,
            activation,
            linear(`${at}.mlp.down_proj`, intermediate, hidden, false)
          )
        }))
    })
} as const satisfies Architecture
