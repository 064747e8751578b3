import type { ModelFacts } from "../arch/Architecture.ts"

/** What the device's configuration file says beside the facts of the model. */
export interface VlmOptions {
  /** name of the checkpoint */
  readonly modelName: string
  /** positions that the programs were compiled for, not those that the model was made for */
  readonly maxNumTokens: number
  /** config.json, untrusted; settings that are missing or of another type count as unused */
  readonly config: Readonly<Record<string, unknown>>
}

type Settings = Readonly<Record<string, unknown>>

const isSettings = (value: unknown): value is Settings =>
  typeof value === "object" && value !== null && !Array.isArray(value)
const settings = (value: unknown): Settings => isSettings(value) ? value : {}
const number = (value: unknown, unused: number): number => typeof value === "number" ? value : unused
const flag = (value: unknown): boolean => value === true
const numbers = (value: unknown): ReadonlyArray<number> =>
  Array.isArray(value) && value.every((item) => typeof item === "number") ? value : []
const text = (value: unknown, unused: string): string => typeof value === "string" ? value : unused

const ropeConfig = (facts: ModelFacts, config: Settings) => {
  // One embedding for all layers, or one by type of layer: then the settings are those of layers that see everything.
  const parameters = settings(config["rope_parameters"])
  const scaling = settings(config["rope_scaling"] ?? parameters["full_attention"] ?? parameters)
  const local = config["rope_local_base_freq"] ?? settings(parameters["sliding_attention"])["rope_theta"]
  return {
    rope_theta: facts.ropeTheta,
    rope_local_base_freq: number(local, facts.ropeTheta),
    rope_dimension_count: 2 * (facts.ropes[0]?.inverseFrequencies.length ?? 0),
    rope_scaling: {
      factor: number(scaling["factor"], 0),
      low_freq_factor: number(scaling["low_freq_factor"], 0),
      high_freq_factor: number(scaling["high_freq_factor"], 0),
      original_max_position_embeddings: number(
        scaling["original_max_position_embeddings"] ?? config["original_max_position_embeddings"],
        0
      ),
      long_factor: numbers(scaling["long_factor"]),
      short_factor: numbers(scaling["short_factor"]),
      rope_type: text(scaling["rope_type"] ?? scaling["type"], "default"),
      mrope_section: numbers(scaling["mrope_section"]),
      mrope_interleaved: flag(scaling["mrope_interleaved"])
    }
  }
}

const attentionConfig = (facts: ModelFacts, config: Settings) => {
  const windows = facts.layers.flatMap((layer) =>
    layer.kind === "attention" && layer.window !== undefined ? [layer.window] : []
  )
  return {
    num_attention_heads: facts.heads,
    num_key_value_heads: facts.keyValueHeads,
    head_dim: facts.headSize,
    swa_enable: windows.length > 0,
    sliding_window: Math.max(0, ...windows),
    attention_bias: flag(config["attention_bias"]),
    attention_dropout: number(config["attention_dropout"], 0),
    query_pre_attn_scalar: number(config["query_pre_attn_scalar"], 0)
  }
}

/** gate, up and down */
const mlpLayers = 3

/**
 * The content of `devkit/vlm_config.json` for a language model: the vendor's keys, unused settings as 0, null or [].
 * Source: files of published models, as design and llima-public 7.3 describe them; the end of `lm_cfg` is not public.
 */
export const vlmConfig = (facts: ModelFacts, options: VlmOptions) => {
  const config = { ...options.config, ...settings(options.config["text_config"]) }
  return {
    model_name: options.modelName,
    model_type: `llm-${facts.family}`,
    vm_cfg: null,
    mm_cfg: null,
    lm_cfg: {
      model_type: facts.family,
      data_type: text(config["torch_dtype"] ?? config["dtype"], "bfloat16"),
      // "lfm" for lfm2: a family without its number
      arch: facts.family.replace(/[\d_].*$/, ""),
      token_cfg: { vocab_size: facts.vocabulary },
      rope_cfg: ropeConfig(facts, config),
      attn_cfg: attentionConfig(facts, config),
      mlp_cfg: {
        intermediate_size: facts.intermediate,
        act: facts.activation,
        num_layers: mlpLayers,
        mlp_bias: flag(config["mlp_bias"])
      },
      hidden_size: facts.hidden,
      num_hidden_layers: facts.layers.length,
      max_position_embeddings: options.maxNumTokens,
      rms_norm_eps: facts.normEpsilon,
      // Gemma's norms multiply by 1 + weight. Source: transformers, GemmaRMSNorm and its successors up to gemma3.
      rms_norm_unit_offset: facts.family.startsWith("gemma"),
      layer_types: facts.layers.map((layer) =>
        layer.kind === "convolution" ? "conv" : layer.window === undefined ? "full_attention" : "sliding_attention"
      ),
      attn_logit_softcapping: facts.attentionSoftCap ?? null,
      final_logit_softcapping: facts.logitSoftCap ?? null
    }
  }
}
