import { NodeServices } from "@effect/platform-node"
import { assert, describe, it, layer } from "@effect/vitest"
import { Effect, FileSystem, Result, Runtime, Schema } from "effect"
import { join } from "node:path"
import { find } from "../../src/arch/registry.ts"
import { type EmbeddingKernels, writeEmbeddings } from "../../src/devkit/Embeddings.ts"
import { layerPrograms, precisionList, type ProgramChoice } from "../../src/devkit/PrecisionList.ts"
import { RuntimeConfig } from "../../src/devkit/RuntimeConfig.ts"
import { encodeRuntimeConfig, runtimeConfig } from "../../src/devkit/RuntimeFile.ts"
import { checkTokenizer, endTokens, madeTokenizer, readTokenizer } from "../../src/devkit/Tokenizer.ts"
import { vlmConfig } from "../../src/devkit/VlmConfig.ts"
import { decode } from "../../src/tensor/Npy.ts"
import type { Tensor } from "../../src/tensor/Tensor.ts"
import { checkpoint } from "../../src/testing.ts"
import { copying, publishInto } from "./Build.ts"

const fixtures = join(import.meta.dirname, "../fixtures/text")

/** A Llama 3.1 in small: its settings, not its size. */
const config = {
  model_type: "llama",
  hidden_size: 64,
  intermediate_size: 96,
  num_hidden_layers: 2,
  num_attention_heads: 4,
  num_key_value_heads: 2,
  head_dim: 16,
  vocab_size: 300,
  max_position_embeddings: 4096,
  rms_norm_eps: 1e-5,
  rope_theta: 500_000,
  rope_scaling: {
    rope_type: "llama3",
    factor: 8,
    low_freq_factor: 1,
    high_freq_factor: 4,
    original_max_position_embeddings: 1024
  },
  torch_dtype: "bfloat16",
  hidden_act: "silu"
}
const facts = Result.getOrThrow(
  Result.fromNullishOr(find("llama"), () => "llama").pipe(
    Result.flatMap((family) => family.read(config))
  )
).facts

const choice = (name: string, layer: number, compile = true): ProgramChoice => ({
  name,
  layer,
  precision: compile ? "A_BF16_W_INT4" : undefined,
  compile,
  lora: "LORA_DISABLED"
})
const programs: ReadonlyArray<ProgramChoice> = [
  choice("group_pre_0", 0),
  choice("single_pre_0", 0, false),
  { ...choice("group_post_1", 1), head: "A_BF16_W_INT8" }
]

describe("vlmConfig", () => {
  const { lm_cfg, ...top } = vlmConfig(facts, { modelName: "Llama-small", maxNumTokens: 2048, config })

  it("names a language model, without the parts of a vision model", () => {
    assert.deepStrictEqual(top, { model_name: "Llama-small", model_type: "llm-llama", vm_cfg: null, mm_cfg: null })
  })

  it("gives the compiled context, not the model's", () => {
    assert.strictEqual(lm_cfg.max_position_embeddings, 2048)
  })

  it("hands rope settings on, and writes unused ones as 0 and []", () => {
    assert.deepStrictEqual(lm_cfg.rope_cfg, {
      rope_theta: 500_000,
      rope_local_base_freq: 500_000,
      rope_dimension_count: 16,
      rope_scaling: {
        factor: 8,
        low_freq_factor: 1,
        high_freq_factor: 4,
        original_max_position_embeddings: 1024,
        long_factor: [],
        short_factor: [],
        rope_type: "llama3",
        mrope_section: [],
        mrope_interleaved: false
      }
    })
    assert.deepInclude(lm_cfg.attn_cfg, {
      swa_enable: false,
      sliding_window: 0,
      query_pre_attn_scalar: 0,
      head_dim: 16
    })
  })

  it("hands rope settings on that are kept by type of layer", () => {
    const nested = {
      full_attention: { rope_type: "linear", factor: 4, rope_theta: 100_000 },
      sliding_attention: { rope_type: "default", rope_theta: 1000 }
    }
    const { rope_scaling: _, ...rest } = config
    const options = { modelName: "x", maxNumTokens: 1, config: { ...rest, rope_parameters: nested } }
    const { rope_local_base_freq, rope_scaling } = vlmConfig(facts, options).lm_cfg.rope_cfg
    assert.strictEqual(rope_local_base_freq, 1000)
    assert.deepInclude(rope_scaling, { factor: 4, rope_type: "linear" })
  })

  it("says which layers see a window", () => {
    const layers = facts.layers.map((layer, index) => index === 0 ? { ...layer, window: 512 } : layer)
    const sliding = vlmConfig({ ...facts, layers }, { modelName: "x", maxNumTokens: 1, config }).lm_cfg
    assert.deepStrictEqual(sliding.layer_types, ["sliding_attention", "full_attention"])
    assert.deepInclude(sliding.attn_cfg, { swa_enable: true, sliding_window: 512 })
  })

  it("says which layers are convolutions", () => {
    const convolution = { kind: "convolution", stateRows: 2, stateWidth: facts.hidden } as const
    const layers = facts.layers.map((layer, index) => index === 0 ? convolution : layer)
    const { attn_cfg, layer_types } =
      vlmConfig({ ...facts, layers }, { modelName: "x", maxNumTokens: 1, config }).lm_cfg
    assert.deepStrictEqual(layer_types, ["conv", "full_attention"])
    assert.isFalse(attn_cfg.swa_enable)
  })

  it("takes settings of another type as unused", () => {
    const odd = { ...config, attention_bias: "yes", rope_scaling: [1], torch_dtype: 16 }
    const { attn_cfg, data_type, rope_cfg } = vlmConfig(facts, { modelName: "x", maxNumTokens: 1, config: odd }).lm_cfg
    assert.isFalse(attn_cfg.attention_bias)
    assert.strictEqual(rope_cfg.rope_scaling.factor, 0)
    assert.strictEqual(data_type, "bfloat16")
  })
})

describe("precisionList", () => {
  it("gives each program's choice, and the head's precision where it differs", () => {
    assert.deepStrictEqual(precisionList(programs).programs, {
      group_pre_0: { precision: "A_BF16_W_INT4", compile: true, lora: "LORA_DISABLED" },
      single_pre_0: { precision: null, compile: false, lora: "LORA_DISABLED" },
      group_post_1: { precision: "A_BF16_W_INT4", compile: true, lora: "LORA_DISABLED", head: "A_BF16_W_INT8" }
    })
  })
})

describe("layerPrograms", () => {
  it("tells the compiled programs of a layer from those left out", () => {
    assert.deepStrictEqual(layerPrograms(programs, 0), { programs: ["group_pre_0"], omitted: ["single_pre_0"] })
  })
})

describe("encodeRuntimeConfig", () => {
  it("writes what the runners' schema reads", () => {
    const written = runtimeConfig(facts, {
      maxNumTokens: 1024,
      groupSize: 128,
      futureTokenMaskSize: 64,
      returnLogits: false,
      programs,
      embeddings: { file: "embeddings.npy", dtype: "bf16", scales: null },
      tokens: { eos: [2, 5], bos: undefined }
    })
    const read = Schema.decodeSync(Schema.fromJsonString(RuntimeConfig))(encodeRuntimeConfig(written))
    assert.deepStrictEqual(read, written)
    assert.deepInclude(read.layers[0], { cacheWidth: 32, queryWidth: 64, window: null, omitted: ["single_pre_0"] })
    assert.deepInclude(read, { bosTokenId: null, futureTokenMaskSize: 64 })
  })
})

const check = (value: unknown, vocabulary = 4) => checkTokenizer("tokenizer.json", JSON.stringify(value), vocabulary)

describe("checkTokenizer", () => {
  it("counts the tokens of a vocabulary and those added to it", () => {
    assert.strictEqual(Result.getOrThrow(check({ model: { vocab: { a: 0, b: 1 } } })), 2)
    assert.strictEqual(Result.getOrThrow(check({ model: { vocab: [["a", -1.5], ["b", -2]] } })), 2)
    const added = { model: { vocab: { a: 0 } }, added_tokens: [{ id: 3, content: "<s>" }] }
    assert.strictEqual(Result.getOrThrow(check(added)), 4)
  })

  it("refuses an id that the model has no embedding for, and names it", () => {
    const added = { model: { vocab: { a: 0 } }, added_tokens: [{ id: 4, content: "<s>" }] }
    const error = Result.getOrThrow(Result.flip(check(added)))
    assert.strictEqual(error[Runtime.errorExitCode], 3)
    assert.match(error.message, /expected ids below 4.*found id 4 \("<s>"\)/)
  })

  it.each([[], {}, { model: {} }, { model: { vocab: { a: "0" } } }, { model: { vocab: { a: -1 } } }])(
    "refuses %j",
    (value) => assert.isTrue(Result.isFailure(check(value)))
  )

  it("refuses what is no JSON, with the place", () => {
    const error = Result.getOrThrow(Result.flip(checkTokenizer("tokenizer.json", "{\"model\": ", 4)))
    assert.strictEqual(error.expected, "JSON")
  })
})

describe("endTokens", () => {
  it("believes generation_config.json before config.json, key by key", () => {
    const tokens = endTokens({ eos_token_id: [7, 8, 7] }, { eos_token_id: 2, bos_token_id: 1 }, 10)
    assert.deepStrictEqual(Result.getOrThrow(tokens), { eos: [7, 8], bos: 1 })
  })

  it("looks into text_config, and takes null as absent", () => {
    const tokens = endTokens(undefined, { eos_token_id: null, text_config: { eos_token_id: 3 } }, 10)
    assert.deepStrictEqual(Result.getOrThrow(tokens), { eos: [3], bos: undefined })
  })

  it.each([10, -1, 1.5, "2", [2, null]])("refuses the id %j in a vocabulary of 10", (value) => {
    const error = Result.getOrThrow(Result.flip(endTokens(undefined, { eos_token_id: value }, 10)))
    assert.deepInclude(error, { path: "config.json", at: "eos_token_id" })
  })
})

const rows = 3
const columns = 4

/** Writes codes 1, 2, 3 … and scales 0x3f80 (1.0 in bf16) after the last. */
const counting = Effect.gen(function*() {
  const fs = yield* FileSystem.FileSystem
  const kernels: EmbeddingKernels<unknown, never> = {
    ...(yield* copying),
    quantizeRows: ({ destination }) =>
      Effect.scoped(Effect.gen(function*() {
        const file = yield* fs.open(destination.file, { flag: "r+" })
        yield* file.seek(BigInt(destination.codes), "start")
        yield* file.writeAll(Uint8Array.from({ length: rows * columns }, (_, i) => i + 1))
        yield* file.seek(BigInt(destination.scales), "start")
        yield* file.writeAll(Uint8Array.from({ length: rows * 2 }, (_, i) => i % 2 === 0 ? 0x80 : 0x3f))
      }))
  }
  return kernels
})

layer(NodeServices.layer, { excludeTestServices: true })("devkit files", (it) => {
  describe("readTokenizer", () => {
    it.effect("takes the files that are there, byte for byte", () =>
      Effect.gen(function*() {
        const fs = yield* FileSystem.FileSystem
        const folder = join(fixtures, "mistral-full")
        const files = yield* readTokenizer(folder, 304)
        const names = ["tokenizer.json", "tokenizer_config.json", "chat_template.jinja", "generation_config.json"]
        assert.deepStrictEqual(files.map(({ name }) => name), names)
        for (const { bytes, name } of files) assert.deepStrictEqual(bytes, yield* fs.readFile(join(folder, name)))
      }))

    it.effect("checks tokenizer.json against the model's vocabulary", () =>
      Effect.gen(function*() {
        const error = yield* Effect.flip(readTokenizer(join(fixtures, "mistral-full"), 100))
        assert.strictEqual(error.path, join(fixtures, "mistral-full", "tokenizer.json"))
      }))
  })

  describe("readTokenizer, opening", () => {
    /** A tokenizer of bytes with what is to be tried in it. */
    const refusal = Effect.fnUntraced(function*(
      changes: {
        readonly tokenizer?: Readonly<Record<string, unknown>>
        readonly template?: unknown
        readonly jinja?: string
      }
    ) {
      const fs = yield* FileSystem.FileSystem
      const folder = yield* checkpoint()
      const edit = (name: string, more: Readonly<Record<string, unknown>>) =>
        Effect.gen(function*() {
          const json: Readonly<Record<string, unknown>> = JSON.parse(yield* fs.readFileString(join(folder, name)))
          yield* fs.writeFileString(join(folder, name), JSON.stringify({ ...json, ...more }))
        })
      yield* edit("tokenizer.json", changes.tokenizer ?? {})
      if (changes.template !== undefined) yield* edit("tokenizer_config.json", { chat_template: changes.template })
      if (changes.jinja !== undefined) yield* fs.writeFileString(join(folder, "chat_template.jinja"), changes.jinja)
      const error = yield* Effect.flip(readTokenizer(folder, 288))
      return { error, file: error.path.slice(folder.length + 1) }
    })

    it.effect("refuses a model of a kind that nobody knows", () =>
      Effect.gen(function*() {
        const { error, file } = yield* refusal({ tokenizer: { model: { type: "Nope", vocab: { a: 0 } } } })
        assert.deepInclude(error, {
          _tag: "DevkitError",
          expected: "a model of type BPE, Unigram, WordPiece or WordLevel",
          found: "type \"Nope\""
        })
        assert.strictEqual(file, "tokenizer.json")
        assert.strictEqual(Runtime.getErrorExitCode(error), 3)
      }))

    it.effect("refuses a pattern that is none", () =>
      Effect.gen(function*() {
        const pre_tokenizer = { type: "Split", pattern: { Regex: "((([" }, behavior: "Isolated", invert: false }
        const { error, file } = yield* refusal({ tokenizer: { pre_tokenizer } })
        assert.strictEqual(file, "tokenizer.json")
        assert.strictEqual(error.expected, "a tokenizer that @huggingface/tokenizers reads")
      }))

    it.effect("refuses a chat template that cannot be read, and names its file", () =>
      Effect.gen(function*() {
        const inConfig = yield* refusal({ template: "{% for a in %}" })
        assert.deepInclude(inConfig.error, {
          at: "chat_template",
          expected: "a template that @huggingface/jinja reads"
        })
        assert.strictEqual(inConfig.file, "tokenizer_config.json")
        assert.strictEqual((yield* refusal({ jinja: "{% if %}" })).file, "chat_template.jinja")
        const number = yield* refusal({ template: 5 })
        assert.strictEqual(number.file, "tokenizer_config.json")
        assert.strictEqual(number.error.found, "number")
      }))
  })

  describe("madeTokenizer", () => {
    it.effect("opens what a GGUF file tells, and names that file", () =>
      Effect.gen(function*() {
        const fs = yield* FileSystem.FileSystem
        const folder = yield* checkpoint()
        const tokenizer = yield* fs.readFileString(join(folder, "tokenizer.json"))
        const texts = new Map([["tokenizer.json", tokenizer]])
        assert.strictEqual((yield* madeTokenizer("model.gguf", texts, 288)).length, 1)
        texts.set("tokenizer_config.json", JSON.stringify({ chat_template: "{{ a" }))
        const error = yield* Effect.flip(madeTokenizer("model.gguf", texts, 288))
        assert.deepInclude(error, { _tag: "DevkitError", path: "model.gguf", at: "chat_template" })
      }))
  })

  describe("writeEmbeddings", () => {
    const prepare = Effect.gen(function*() {
      const fs = yield* FileSystem.FileSystem
      const folder = yield* fs.makeTempDirectoryScoped()
      const bytes = Uint8Array.from({ length: 7 + rows * columns * 2 }, (_, i) => i)
      yield* fs.writeFile(`${folder}/weights`, bytes)
      const tensor: Tensor = {
        name: "model.embed_tokens.weight",
        dtype: "bf16",
        shape: [rows, columns],
        range: { file: `${folder}/weights`, offset: 7, length: rows * columns * 2 }
      }
      const npy = (name: string) =>
        Effect.map(fs.readFile(`${folder}/${name}`), (file) => {
          const { dataOffset, descr, shape } = Result.getOrThrow(decode(file))
          return { descr, shape, data: [...file.subarray(dataOffset)] }
        })
      return { folder, tensor, bytes, npy, publish: publishInto(folder) }
    })

    it.effect("copies the table as it is stored; bf16 as u16", () =>
      Effect.gen(function*() {
        const { bytes, npy, publish, tensor } = yield* prepare
        const written = yield* writeEmbeddings(tensor, { quantize: false, kernels: yield* copying, publish })
        assert.deepStrictEqual(written, {
          files: ["embeddings.npy"],
          embeddings: { file: "embeddings.npy", dtype: "bf16", scales: null }
        })
        assert.deepStrictEqual(yield* npy("embeddings.npy"), {
          descr: "<u2",
          shape: [rows, columns],
          data: [...bytes.subarray(7)]
        })
      }))

    it.effect("splits codes and scales into two files", () =>
      Effect.gen(function*() {
        const { npy, publish, tensor } = yield* prepare
        const written = yield* writeEmbeddings(tensor, { quantize: true, kernels: yield* counting, publish })
        assert.deepStrictEqual(written.embeddings, {
          file: "embeddings.npy",
          dtype: "i8",
          scales: "embeddings_scales.npy"
        })
        assert.deepStrictEqual(yield* npy("embeddings.npy"), {
          descr: "|i1",
          shape: [rows, columns],
          data: Array.from({ length: rows * columns }, (_, i) => i + 1)
        })
        assert.deepStrictEqual(yield* npy("embeddings_scales.npy"), {
          descr: "<u2",
          shape: [rows],
          data: [0x80, 0x3f, 0x80, 0x3f, 0x80, 0x3f]
        })
      }))

    it.effect("refuses a table of another kind, and names the tensor", () =>
      Effect.gen(function*() {
        const { publish, tensor } = yield* prepare
        const kernels = yield* copying
        for (const wrong of [{ dtype: "f8_e4m3" as const }, { shape: [rows] }, { shape: [rows, columns + 1] }]) {
          const error = yield* Effect.flip(
            writeEmbeddings({ ...tensor, ...wrong }, { quantize: false, kernels, publish })
          )
          assert.deepInclude(error, { _tag: "DevkitError", path: tensor.name })
        }
      }))
  })
})
