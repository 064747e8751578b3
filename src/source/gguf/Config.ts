import { Result } from "effect"
import { namesLike } from "../Families.ts"
import { UnsupportedArchitecture } from "../ModelReason.ts"
import { type Metadata, type Read, unsupported, wrong } from "./Metadata.ts"
import { type Layout, layouts, type Sizes } from "./Names.ts"
import { ropeSettings, type Settings, type Tables } from "./Rope.ts"

/** What the metadata says of the model, in Hugging Face's spelling and in numbers. */
export interface Described {
  readonly architecture: string
  readonly layout: Layout
  readonly sizes: Sizes
  readonly heads: number
  readonly keyValueHeads: number
  readonly positions: number
  readonly config: Settings
}

/** Past every published model; `requiredTensors` names each layer's tensors. */
const MOST_LAYERS = 10_000

/** Keys that change what the model computes, in ways that no family here does. */
const unusual: ReadonlyArray<readonly [key: string, meaning: string]> = [
  ["expert_count", "a mixture of experts"],
  ["attention.scale", "a scale of its own on attention's scores"],
  ["attention.clamp_kqv", "clamped q, k and v"],
  ["logit_scale", "scaled logits"],
  ["embedding_scale", "scaled embeddings"],
  ["residual_scale", "scaled residuals"]
]

// The one size of Gemma 2 and of Gemma 3 whose scores are scaled by hidden / heads: 27B, known by its layers. Source: llama.cpp.
const widest: Readonly<Record<string, number>> = { gemma2: 46, gemma3_text: 62 }

const architectureOf = (meta: Metadata): Read<{ readonly architecture: string; readonly layout: Layout }> =>
  Result.gen(function*() {
    const key = "general.architecture"
    const architecture = yield* meta.required(key, "the name of an architecture", meta.text(key))
    const layout = Object.hasOwn(layouts, architecture) ? layouts[architecture] : undefined
    if (layout === undefined) {
      const like = namesLike(architecture, Object.keys(layouts))
      const nearest = like.length === 0 ? [] : [`nearest by name: ${like.join(", ")}`]
      return yield* Result.fail(
        new UnsupportedArchitecture({
          key,
          name: architecture.slice(0, 100),
          architectures: [],
          families: Object.keys(layouts),
          findings: [
            ...nearest,
            "use a GGUF file of one of these, or the model's Hugging Face folder if its family is supported"
          ]
        })
      )
    }
    const type = (yield* meta.text("general.type")) ?? "model"
    if (type !== "model") return yield* unsupported("general.type", "\"model\"", JSON.stringify(type))
    for (const [name, meaning] of unusual) {
      const value = meta.header.values.get(`${architecture}.${name}`)
      if (value !== undefined && !(value.kind === "number" && Number(value.value) === 0)) {
        return yield* unsupported(`${architecture}.${name}`, "no such key, or 0", meaning)
      }
    }
    return { architecture, layout }
  })

const windowed = (meta: Metadata, architecture: string, modelType: Layout["modelType"]): Read<Settings> =>
  Result.gen(function*() {
    const window = yield* meta.integer(`${architecture}.attention.sliding_window`, 0)
    if (modelType === "gemma2" || modelType === "gemma3_text") return window ? { sliding_window: window } : {}
    if (modelType === "phi3") return { sliding_window: window ? window : null }
    // llama's family has no window; Mistral's is llama with one
    return modelType === "llama" && window ? { model_type: "mistral", sliding_window: window } : {}
  })

const gemmaSettings = (
  meta: Metadata,
  architecture: string,
  layout: Layout,
  heads: number,
  sizes: Sizes
): Read<Settings> =>
  Result.gen(function*() {
    if (!layout.offsetNorms || layout.modelType === "gemma") return {}
    const scores = yield* meta.positive(`${architecture}.attn_logit_softcapping`)
    const logits = yield* meta.positive(`${architecture}.final_logit_softcapping`)
    const pattern = yield* meta.integer(`${architecture}.attention.sliding_window_pattern`)
    const wide = widest[layout.modelType] === sizes.layers
    return {
      query_pre_attn_scalar: wide ? sizes.hidden / heads : sizes.headSize,
      ...(scores === undefined ? {} : { attn_logit_softcapping: scores }),
      ...(logits === undefined ? {} : { final_logit_softcapping: logits }),
      ...(pattern === undefined || layout.modelType === "gemma2" ? {} : { sliding_window_pattern: pattern })
    }
  })

/** The configuration that a Hugging Face folder of the same model has. `vocabulary`: tokens of the tokenizer. */
export const describe = (meta: Metadata, tables: Tables, vocabulary: number): Read<Described> =>
  Result.gen(function*() {
    const { architecture, layout } = yield* architectureOf(meta)
    const key = (name: string) => `${architecture}.${name}`
    const size = (name: string) => meta.required(key(name), "an integer of at least 1", meta.integer(key(name)))
    const layers = yield* size("block_count")
    if (layers > MOST_LAYERS) return yield* wrong(key("block_count"), `at most ${MOST_LAYERS}`, `${layers}`)
    const positions = yield* size("context_length")
    const hidden = yield* size("embedding_length")
    const intermediate = yield* size("feed_forward_length")
    const heads = yield* size("attention.head_count")
    const keyValueHeads = (yield* meta.integer(key("attention.head_count_kv"))) ?? heads
    const headSize = (yield* meta.integer(key("attention.key_length"))) ?? hidden / heads
    if (!Number.isInteger(headSize)) {
      return yield* wrong(key("attention.head_count"), `a divisor of the embedding_length ${hidden}`, `${heads}`)
    }
    const valueSize = (yield* meta.integer(key("attention.value_length"))) ?? headSize
    if (valueSize !== headSize) {
      return yield* unsupported(key("attention.value_length"), `the key_length ${headSize}`, `${valueSize}`)
    }
    const rotary = (yield* meta.integer(key("rope.dimension_count"))) ?? headSize
    if (rotary !== headSize && layout.modelType !== "phi3") {
      return yield* unsupported(key("rope.dimension_count"), `the size of a head, ${headSize}`, `${rotary}`)
    }
    const epsilonKey = key("attention.layer_norm_rms_epsilon")
    const epsilon = yield* meta.required(epsilonKey, "a number above 0", meta.positive(epsilonKey))
    const sizes = {
      layers,
      hidden,
      intermediate,
      vocabulary,
      headSize,
      queryWidth: heads * headSize,
      cacheWidth: keyValueHeads * headSize
    }
    const config = {
      model_type: layout.modelType,
      hidden_size: hidden,
      intermediate_size: intermediate,
      num_hidden_layers: layers,
      num_attention_heads: heads,
      num_key_value_heads: keyValueHeads,
      head_dim: headSize,
      vocab_size: vocabulary,
      max_position_embeddings: positions,
      rms_norm_eps: epsilon,
      [layout.offsetNorms ? "hidden_activation" : "hidden_act"]: layout.offsetNorms ? "gelu_pytorch_tanh" : "silu",
      tie_word_embeddings: !meta.header.tensors.has("output.weight"),
      ...(yield* ropeSettings(meta, tables, { architecture, layout, headSize, rotary })),
      ...(yield* gemmaSettings(meta, architecture, layout, heads, sizes)),
      ...(yield* windowed(meta, architecture, layout.modelType))
    }
    return { architecture, layout, sizes, heads, keyValueHeads, positions, config }
  })
