/** Value types of GGUF by name. */
export const types = { u8: 0, u16: 2, u32: 4, i32: 5, f32: 6, bool: 7, text: 8, list: 9 } as const

/** A value of the metadata as the writer takes it. */
export type Value =
  | { readonly u16: number }
  | { readonly u32: number }
  | { readonly f32: number }
  | { readonly bool: boolean }
  | { readonly text: string }
  | { readonly texts: ReadonlyArray<string> }
  | { readonly i32s: ReadonlyArray<number> }
  | { readonly f32s: ReadonlyArray<number> }

/** A tensor in F32. */
export interface Tensor {
  readonly shape: ReadonlyArray<number>
  readonly values: ReadonlyArray<number>
}

class Bytes {
  readonly parts: Array<Uint8Array> = []
  length = 0

  push(part: Uint8Array): this {
    this.parts.push(part)
    this.length += part.length
    return this
  }

  number(bytes: number, write: (view: DataView) => void): this {
    const part = new Uint8Array(bytes)
    write(new DataView(part.buffer))
    return this.push(part)
  }

  u32(value: number): this {
    return this.number(4, (view) => view.setUint32(0, value, true))
  }

  i32(value: number): this {
    return this.number(4, (view) => view.setInt32(0, value, true))
  }

  u64(value: number): this {
    return this.number(8, (view) => view.setBigUint64(0, BigInt(value), true))
  }

  f32(value: number): this {
    return this.number(4, (view) => view.setFloat32(0, value, true))
  }

  text(value: string): this {
    const bytes = new TextEncoder().encode(value)
    return this.u64(bytes.length).push(bytes)
  }

  pad(alignment: number): this {
    return this.push(new Uint8Array((alignment - (this.length % alignment)) % alignment))
  }

  whole(): Uint8Array {
    const all = new Uint8Array(this.length)
    let at = 0
    for (const part of this.parts) {
      all.set(part, at)
      at += part.length
    }
    return all
  }
}

const writeValue = (out: Bytes, value: Value): void => {
  const list = (type: number, count: number) => out.u32(types.list).u32(type).u64(count)
  if ("u16" in value) out.u32(types.u16).number(2, (view) => view.setUint16(0, value.u16, true))
  else if ("u32" in value) out.u32(types.u32).u32(value.u32)
  else if ("f32" in value) out.u32(types.f32).f32(value.f32)
  else if ("bool" in value) out.u32(types.bool).push(new Uint8Array([value.bool ? 1 : 0]))
  else if ("text" in value) out.u32(types.text).text(value.text)
  else if ("texts" in value) {
    list(types.text, value.texts.length)
    for (const text of value.texts) out.text(text)
  } else if ("i32s" in value) {
    list(types.i32, value.i32s.length)
    for (const number of value.i32s) out.i32(number)
  } else {
    list(types.f32, value.f32s.length)
    for (const number of value.f32s) out.f32(number)
  }
}

/** What a file is made of. */
export interface Content {
  readonly version?: number
  readonly values: Readonly<Record<string, Value>>
  readonly tensors: Readonly<Record<string, Tensor>>
}

/** A GGUF file. Source: ggml docs/gguf.md. */
export const write = ({ tensors, values, version = 3 }: Content): Uint8Array => {
  const out = new Bytes()
  out.push(new TextEncoder().encode("GGUF")).u32(version)
  out.u64(Object.keys(tensors).length).u64(Object.keys(values).length)
  for (const [key, value] of Object.entries(values)) {
    out.text(key)
    writeValue(out, value)
  }
  const data = new Bytes()
  for (const [name, tensor] of Object.entries(tensors)) {
    out.text(name).u32(tensor.shape.length)
    for (const dim of tensor.shape.toReversed()) out.u64(dim)
    out.u32(0).u64(data.length)
    for (const number of tensor.values) data.f32(number)
    data.pad(32)
  }
  return out.pad(32).push(data.whole()).whole()
}

const tensor = (...shape: ReadonlyArray<number>): Tensor => ({
  shape,
  values: Array.from({ length: shape.reduce((a, b) => a * b, 1) }, (_, at) => at % 7)
})

/** Tokens of the tiny models: bytes a, b, c, one merge, begin and end. */
const vocabulary = {
  "tokenizer.ggml.model": { text: "gpt2" },
  "tokenizer.ggml.pre": { text: "gpt-2" },
  "tokenizer.ggml.tokens": { texts: ["a", "b", "c", "ab", "<s>", "</s>"] },
  "tokenizer.ggml.token_type": { i32s: [1, 1, 1, 1, 3, 3] },
  "tokenizer.ggml.merges": { texts: ["a b"] },
  "tokenizer.ggml.bos_token_id": { u32: 4 },
  "tokenizer.ggml.eos_token_id": { u32: 5 }
} as const

const sizes = (architecture: string): Readonly<Record<string, Value>> => ({
  "general.architecture": { text: architecture },
  [`${architecture}.block_count`]: { u32: 1 },
  [`${architecture}.context_length`]: { u32: 64 },
  [`${architecture}.embedding_length`]: { u32: 8 },
  [`${architecture}.feed_forward_length`]: { u32: 12 },
  [`${architecture}.attention.head_count`]: { u32: 2 },
  [`${architecture}.attention.layer_norm_rms_epsilon`]: { f32: 1e-5 }
})

/** A llama of one layer, two heads of 4 and six tokens, its head tied. */
export const tinyLlama: Content = {
  values: { ...sizes("llama"), ...vocabulary },
  tensors: {
    "token_embd.weight": tensor(6, 8),
    "blk.0.attn_norm.weight": tensor(8),
    "blk.0.attn_q.weight": tensor(8, 8),
    "blk.0.attn_k.weight": tensor(8, 8),
    "blk.0.attn_v.weight": tensor(8, 8),
    "blk.0.attn_output.weight": tensor(8, 8),
    "blk.0.ffn_norm.weight": tensor(8),
    "blk.0.ffn_gate.weight": tensor(12, 8),
    "blk.0.ffn_up.weight": tensor(12, 8),
    "blk.0.ffn_down.weight": tensor(8, 12),
    "output_norm.weight": tensor(8)
  }
}

/** A phi3 of one layer with longrope: two factors a head. */
export const tinyPhi3: Content = {
  values: {
    ...sizes("phi3"),
    ...vocabulary,
    "phi3.rope.scaling.original_context_length": { u32: 32 },
    "phi3.rope.scaling.attn_factor": { f32: 1.25 }
  },
  tensors: {
    "rope_factors_long.weight": { shape: [2], values: [2, 4] },
    "rope_factors_short.weight": { shape: [2], values: [1, 1.5] },
    "token_embd.weight": tensor(6, 8),
    "blk.0.attn_norm.weight": tensor(8),
    "blk.0.attn_qkv.weight": tensor(24, 8),
    "blk.0.attn_output.weight": tensor(8, 8),
    "blk.0.ffn_norm.weight": tensor(8),
    "blk.0.ffn_up.weight": tensor(24, 8),
    "blk.0.ffn_down.weight": tensor(8, 12),
    "output_norm.weight": tensor(8)
  }
}
