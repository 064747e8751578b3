import { Result, Schema } from "effect"
import type { Architecture } from "./Architecture.ts"
import { projections } from "./block/Attention.ts"
import { type Block, linear, noPiece } from "./block/Block.ts"
import { decode, optional, Positions, Positive } from "./block/Config.ts"
import { expertCounts, expertFields, expertKeys, mixture, stackedLinear } from "./block/Experts.ts"
import { attentionFacts, preNorm } from "./block/Layer.ts"
import { rmsNorm } from "./block/Norm.ts"
import { modelOf, settingsFields, settingsKeys, settingsOf } from "./block/Settings.ts"
import { attentionWithSinks } from "./block/Sinks.ts"
import { LayerTypes, windowsByType } from "./block/Window.ts"

const Config = Schema.Struct({
  ...settingsFields,
  ...expertFields,
  attentionBias: optional(Schema.Boolean),
  window: optional(Positions),
  layerTypes: LayerTypes,
  alpha: optional(Positive),
  limit: optional(Positive)
}).pipe(
  Schema.encodeKeys({
    ...settingsKeys,
    ...expertKeys,
    attentionBias: "attention_bias",
    window: "sliding_window",
    layerTypes: "layer_types",
    alpha: "swiglu_alpha",
    limit: "swiglu_limit"
  })
)

// Source: transformers 5.23, models/gpt_oss.
const THETA = 150_000
const WINDOW = 128
const ALPHA = 1.702
const LIMIT = 7
const ROPE = {
  rope_type: "yarn",
  factor: 32,
  beta_fast: 32,
  beta_slow: 1,
  truncate: false,
  original_max_position_embeddings: 4096
}

/** What an expert computes between its matrices. */
interface Gate {
  readonly intermediate: number
  readonly alpha: number
  readonly limit: number
}

/** `(up + 1) · gate · sigmoid(alpha · gate)`, gate at most `limit`, up from -limit to limit; of both in turn, gate first. */
const clampedGate = ({ alpha, intermediate, limit }: Gate): Block => ({
  tensors: [],
  on: ({ graph }, x) => {
    const number = (name: string, value: number) => graph.constant(name, "f32", [], [value])
    const most = number("limit", limit)
    const pairs = graph.reshape(x, [0, intermediate, 2])
    const [gates = noPiece(), ups = noPiece()] = graph.split(pairs, [1, 1], 2).map((part) => graph.squeeze(part, [2]))
    const gate = graph.op("Min", [gates, most])
    const up = graph.op("Clip", [ups, number("least", -limit), most])
    const passed = graph.mul(gate, graph.sigmoid(graph.mul(gate, number("alpha", alpha))))
    return graph.mul(graph.add(up, number("one", 1)), passed)
  }
})

/** GPT-OSS: experts with biases in every layer, sinks in attention, a window in every other layer. Source: transformers 5.23, models/gpt_oss. */
export const gpt_oss = {
  name: "gpt_oss",
  aliases: [],
  dtypes: ["bf16", "f16", "f32"],
  read: (config) =>
    Result.gen(function*() {
      const c = yield* decode(Config, config)
      const settings = yield* settingsOf({
        ...c,
        normEpsilon: c.normEpsilon ?? 1e-5,
        ropeTheta: c.ropeTheta ?? THETA,
        ...c.ropeScaling || c.ropeParameters ? {} : { ropeScaling: ROPE }
      }, {
        keyValueHeads: c.keyValueHeads === null ? c.heads : 8,
        headSize: c.headSize === null ? undefined : 64,
        positions: 131_072
      })
      const { epsilon, rope, shape } = settings
      const { headSize, hidden, intermediate, queryWidth } = shape
      const window = c.window === undefined ? WINDOW : c.window ?? undefined
      const windows = yield* windowsByType(c.layerTypes, shape.layers, window, (index) => index % 2 === 0)
      const counts = yield* expertCounts(c, shape.layers, { experts: 128, perToken: 4 })
      const bias = c.attentionBias ?? true
      return modelOf("gpt_oss", settings, (at, index) => {
        const stacked = (name: string, width: number, out: number) => (expert: number) =>
          stackedLinear({ name: `${at}.mlp.experts.${name}`, at: expert, count: counts.experts }, width, out)
        return preNorm(shape, attentionFacts(shape, rope.name, windows[index]), {
          inputNorm: rmsNorm(`${at}.input_layernorm`, hidden, epsilon),
          qkv: projections(`${at}.self_attn`, shape, bias),
          headNorms: undefined,
          output: linear(`${at}.self_attn.o_proj`, queryWidth, hidden, bias),
          middleNorm: rmsNorm(`${at}.post_attention_layernorm`, hidden, epsilon),
          mlp: mixture({ ...counts, router: `${at}.mlp.router`, bias: true, shares: "chosen" }, hidden, {
            first: stacked("gate_up_proj", hidden, 2 * intermediate),
            between: clampedGate({ intermediate, alpha: c.alpha ?? ALPHA, limit: c.limit ?? LIMIT }),
            second: stacked("down_proj", intermediate, hidden)
          })
        }, attentionWithSinks(shape, `${at}.self_attn.sinks`, headSize ** -0.5))
      })
    })
} as const satisfies Architecture
