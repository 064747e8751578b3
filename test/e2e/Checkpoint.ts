import { copyFileSync, mkdirSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { fixture } from "./Build.ts"

/** Size of a checkpoint that a test makes. */
export interface Size {
  readonly layers: number
  readonly hidden: number
  readonly intermediate: number
  readonly seed: number
}

/** bf16 numbers of magnitude 2^-7 to 2^-4, never NaN: sign and fraction at random, four exponents. */
const weights = (count: number, seed: number): Uint16Array => {
  let state = seed
  return Uint16Array.from({ length: count }, () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0
    const bits = state >>> 14
    return ((bits & 0x8000) | ((120 + (bits & 3)) << 7) | ((bits >>> 3) & 0x7f)) & 0xffff
  })
}

const VOCABULARY = 304

/** Writes a llama checkpoint with random weights to `path`, with a tokenizer of the fixtures. */
export const writeCheckpoint = (path: string, { hidden, intermediate, layers, seed }: Size): string => {
  mkdirSync(path, { recursive: true })
  const block = (index: number): ReadonlyArray<readonly [string, ReadonlyArray<number>]> => {
    const at = `model.layers.${index}`
    return [
      [`${at}.input_layernorm.weight`, [hidden]],
      ...["q_proj", "k_proj", "v_proj", "o_proj"].map((name) =>
        [`${at}.self_attn.${name}.weight`, [hidden, hidden]] as const
      ),
      [`${at}.post_attention_layernorm.weight`, [hidden]],
      [`${at}.mlp.gate_proj.weight`, [intermediate, hidden]],
      [`${at}.mlp.up_proj.weight`, [intermediate, hidden]],
      [`${at}.mlp.down_proj.weight`, [hidden, intermediate]]
    ]
  }
  const tensors: ReadonlyArray<readonly [string, ReadonlyArray<number>]> = [
    ["model.embed_tokens.weight", [VOCABULARY, hidden]],
    ...Array.from({ length: layers }, (_, index) => block(index)).flat(),
    ["model.norm.weight", [hidden]]
  ]
  let end = 0
  const header = Object.fromEntries(tensors.map(([name, shape]) => {
    const begin = end
    end += 2 * shape.reduce((a, b) => a * b, 1)
    return [name, { dtype: "BF16", shape, data_offsets: [begin, end] }]
  }))
  const text = JSON.stringify(header)
  const padded = text.padEnd(Math.ceil(text.length / 8) * 8)
  const length = new Uint8Array(8)
  new DataView(length.buffer).setBigUint64(0, BigInt(padded.length), true)
  writeFileSync(
    join(path, "model.safetensors"),
    Buffer.concat([length, Buffer.from(padded), new Uint8Array(weights(end / 2, seed).buffer)])
  )
  writeFileSync(
    join(path, "config.json"),
    JSON.stringify({
      architectures: ["LlamaForCausalLM"],
      model_type: "llama",
      vocab_size: VOCABULARY,
      hidden_size: hidden,
      intermediate_size: intermediate,
      num_hidden_layers: layers,
      num_attention_heads: 4,
      num_key_value_heads: 4,
      hidden_act: "silu",
      max_position_embeddings: 256,
      rms_norm_eps: 1e-5,
      rope_theta: 10_000,
      tie_word_embeddings: true,
      torch_dtype: "bfloat16",
      bos_token_id: 1,
      eos_token_id: 2
    })
  )
  for (const name of ["tokenizer.json", "tokenizer_config.json"]) {
    copyFileSync(join(fixture("text/qwen2-tied"), name), join(path, name))
  }
  return path
}
