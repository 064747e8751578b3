// Writes a Hugging Face folder of Llama-3.2-1B's shape with random bf16 weights (2.47 GB): node bench/llama_1b.mjs DIR [--layers N]
// The numbers are normal with deviation 0.02, from a seeded generator; the tokenizer is copied from another folder (--tokenizer DIR).
import { closeSync, copyFileSync, existsSync, mkdirSync, openSync, writeFileSync, writeSync } from "node:fs"
import { join } from "node:path"
import { parseArgs } from "node:util"

const { positionals: [out], values } = parseArgs({
  allowPositionals: true,
  options: { layers: { type: "string", default: "16" }, tokenizer: { type: "string" } }
})
if (out === undefined || values.tokenizer === undefined) {
  console.error("usage: node bench/llama_1b.mjs DIR --tokenizer DIR [--layers N]")
  process.exit(2)
}
const layers = Number(values.layers)
const hidden = 2048, intermediate = 8192, heads = 32, kvHeads = 8, headSize = 64, vocabulary = 128256
mkdirSync(out, { recursive: true })
writeFileSync(
  join(out, "config.json"),
  JSON.stringify(
    {
      architectures: ["LlamaForCausalLM"],
      model_type: "llama",
      hidden_size: hidden,
      intermediate_size: intermediate,
      num_hidden_layers: layers,
      num_attention_heads: heads,
      num_key_value_heads: kvHeads,
      head_dim: headSize,
      vocab_size: vocabulary,
      max_position_embeddings: 131072,
      rms_norm_eps: 1e-5,
      rope_theta: 500000,
      hidden_act: "silu",
      rope_scaling: {
        rope_type: "llama3",
        factor: 32,
        low_freq_factor: 1,
        high_freq_factor: 4,
        original_max_position_embeddings: 8192
      },
      tie_word_embeddings: true,
      torch_dtype: "bfloat16",
      bos_token_id: 1,
      eos_token_id: 2,
      attention_bias: false,
      mlp_bias: false
    },
    null,
    2
  )
)
for (const name of ["tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "generation_config.json"]) {
  if (existsSync(join(values.tokenizer, name))) copyFileSync(join(values.tokenizer, name), join(out, name))
}
const tensors = [["model.embed_tokens.weight", [vocabulary, hidden]], ["model.norm.weight", [hidden]]]
for (let i = 0; i < layers; i++) {
  const p = `model.layers.${i}.`
  tensors.push(
    [`${p}input_layernorm.weight`, [hidden]],
    [`${p}post_attention_layernorm.weight`, [hidden]],
    [`${p}self_attn.q_proj.weight`, [heads * headSize, hidden]],
    [`${p}self_attn.k_proj.weight`, [kvHeads * headSize, hidden]],
    [`${p}self_attn.v_proj.weight`, [kvHeads * headSize, hidden]],
    [`${p}self_attn.o_proj.weight`, [hidden, heads * headSize]],
    [`${p}mlp.gate_proj.weight`, [intermediate, hidden]],
    [`${p}mlp.up_proj.weight`, [intermediate, hidden]],
    [`${p}mlp.down_proj.weight`, [hidden, intermediate]]
  )
}
tensors.sort(([a], [b]) => a < b ? -1 : 1)
const header = { __metadata__: { format: "pt" } }
let at = 0
for (const [name, shape] of tensors) {
  const bytes = 2 * shape.reduce((a, b) => a * b, 1)
  header[name] = { dtype: "BF16", shape, data_offsets: [at, at + bytes] }
  at += bytes
}
// xorshift32 and the sum of four uniforms: close to a normal, and the same on every machine
let state = 0x2545f491
const uniform = () => {
  state ^= state << 13
  state ^= state >>> 17
  state ^= state << 5
  return (state >>> 0) / 2 ** 32
}
const table = new Uint16Array(1 << 22)
const f32 = new Float32Array(1), bits = new Uint32Array(f32.buffer)
for (let i = 0; i < table.length; i++) {
  f32[0] = 0.02 * (uniform() + uniform() + uniform() + uniform() - 2) * Math.sqrt(3)
  table[i] = (bits[0] + 0x7fff + ((bits[0] >>> 16) & 1)) >>> 16
}
let text = JSON.stringify(header)
text += " ".repeat((8 - (Buffer.byteLength(text) % 8)) % 8)
const fd = openSync(join(out, "model.safetensors"), "w")
const length = Buffer.alloc(8)
length.writeBigUInt64LE(BigInt(Buffer.byteLength(text)))
writeSync(fd, length)
writeSync(fd, text)
const bytes = Buffer.from(table.buffer)
const ones = Buffer.from(new Uint16Array(hidden).fill(0x3f80).buffer)
for (const [name, shape] of tensors) {
  if (name.includes("norm")) {
    writeSync(fd, ones)
    continue
  }
  for (let left = 2 * shape[0] * shape[1]; left > 0;) {
    const start = Math.floor(uniform() * (table.length / 2)) * 2
    const take = Math.min(left, bytes.length - start)
    writeSync(fd, bytes, start, take)
    left -= take
  }
}
closeSync(fd)
console.log(`${out}: ${(at / 1e9).toFixed(2)} GB in ${tensors.length} tensors`)
