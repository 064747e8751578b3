/** How an architecture of GGUF lies in the file. */
export interface Layout {
  /** Hugging Face `model_type` of the family that reads it */
  readonly modelType: "llama" | "qwen2" | "qwen3" | "gemma" | "gemma2" | "gemma3_text" | "phi3"
  /** norms are stored plus one */
  readonly offsetNorms: boolean
  /** rows of q and k are interleaved within each head */
  readonly interleaved: boolean
  /** names of a layer's tensors, ours after GGUF's, without `.weight` */
  readonly layer: Readonly<Record<string, string>>
}

const ends = { token_embd: "model.embed_tokens", output_norm: "model.norm", output: "lm_head" } as const

const usual = {
  attn_norm: "input_layernorm",
  attn_q: "self_attn.q_proj",
  attn_k: "self_attn.k_proj",
  attn_v: "self_attn.v_proj",
  attn_output: "self_attn.o_proj",
  ffn_norm: "post_attention_layernorm",
  ffn_gate: "mlp.gate_proj",
  ffn_up: "mlp.up_proj",
  ffn_down: "mlp.down_proj"
} as const

const headNorms = { attn_q_norm: "self_attn.q_norm", attn_k_norm: "self_attn.k_norm" } as const

const gemma = {
  ...usual,
  post_attention_norm: "post_attention_layernorm",
  ffn_norm: "pre_feedforward_layernorm",
  post_ffw_norm: "post_feedforward_layernorm"
} as const

const fused = {
  attn_norm: "input_layernorm",
  attn_qkv: "self_attn.qkv_proj",
  attn_output: "self_attn.o_proj",
  ffn_norm: "post_attention_layernorm",
  ffn_up: "mlp.gate_up_proj",
  ffn_down: "mlp.down_proj"
} as const

const llama: Layout = { modelType: "llama", offsetNorms: false, interleaved: true, layer: usual }

/** Architectures by `general.architecture`. Source: gguf-py 0.19 `MODEL_TENSORS`, `TensorNameMap`; Mistral's files say llama. */
export const layouts: Readonly<Record<string, Layout>> = {
  llama,
  mistral: llama,
  qwen2: { modelType: "qwen2", offsetNorms: false, interleaved: false, layer: usual },
  qwen3: { modelType: "qwen3", offsetNorms: false, interleaved: false, layer: { ...usual, ...headNorms } },
  gemma: { modelType: "gemma", offsetNorms: true, interleaved: false, layer: usual },
  gemma2: { modelType: "gemma2", offsetNorms: true, interleaved: false, layer: gemma },
  gemma3: { modelType: "gemma3_text", offsetNorms: true, interleaved: false, layer: { ...gemma, ...headNorms } },
  phi3: { modelType: "phi3", offsetNorms: false, interleaved: false, layer: fused }
}

/** Tensors that hold no weights: tables of the rotary embedding, which the configuration takes up. */
export const isTable = (name: string): boolean =>
  /(^|\.)(rope_freqs|rope_factors_(long|short)|attn_rot_embd)(\.weight)?$/.test(name)

/** The Hugging Face name of a tensor; undefined where the architecture has none for it. */
export const hubName = (layout: Layout, name: string): string | undefined => {
  const match = /^(?:blk\.([0-9]{1,5})\.)?([a-z_]+)\.(weight|bias)$/.exec(name)
  const [, layer, stem = "", kind] = match ?? []
  const table: Readonly<Record<string, string>> = layer === undefined ? ends : layout.layer
  const ours = Object.hasOwn(table, stem) ? table[stem] : undefined
  if (ours === undefined) return undefined
  return `${layer === undefined ? "" : `model.layers.${Number(layer)}.`}${ours}.${kind}`
}

/** Sizes that tensors' shapes follow from. */
export interface Sizes {
  readonly layers: number
  readonly hidden: number
  readonly intermediate: number
  readonly vocabulary: number
  readonly queryWidth: number
  readonly cacheWidth: number
  readonly headSize: number
}

/** The tensors, by GGUF's names, that a model of these sizes must have, with their shapes. */
export const requiredTensors = (
  layout: Layout,
  { cacheWidth, headSize, hidden, intermediate, layers, queryWidth, vocabulary }: Sizes
): ReadonlyMap<string, ReadonlyArray<number>> => {
  const phi3 = layout.modelType === "phi3"
  const shapes: Readonly<Record<string, ReadonlyArray<number>>> = {
    attn_norm: [hidden],
    attn_q: [queryWidth, hidden],
    attn_k: [cacheWidth, hidden],
    attn_v: [cacheWidth, hidden],
    attn_qkv: [queryWidth + 2 * cacheWidth, hidden],
    attn_output: [hidden, queryWidth],
    attn_q_norm: [headSize],
    attn_k_norm: [headSize],
    post_attention_norm: [hidden],
    post_ffw_norm: [hidden],
    ffn_norm: [hidden],
    ffn_gate: [intermediate, hidden],
    ffn_up: [phi3 ? 2 * intermediate : intermediate, hidden],
    ffn_down: [hidden, intermediate]
  }
  const required = new Map<string, ReadonlyArray<number>>([
    ["token_embd.weight", [vocabulary, hidden]],
    ["output_norm.weight", [hidden]]
  ])
  for (let layer = 0; layer < layers; layer++) {
    for (const stem of Object.keys(layout.layer)) required.set(`blk.${layer}.${stem}.weight`, shapes[stem] ?? [])
    if (layout.modelType === "qwen2") {
      required.set(`blk.${layer}.attn_q.bias`, [queryWidth])
      required.set(`blk.${layer}.attn_k.bias`, [cacheWidth])
      required.set(`blk.${layer}.attn_v.bias`, [cacheWidth])
    }
  }
  return required
}
