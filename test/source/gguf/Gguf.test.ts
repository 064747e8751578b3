import * as NodeServices from "@effect/platform-node/NodeServices"
import { assert, layer } from "@effect/vitest"
import { Effect, FileSystem, Result, Runtime } from "effect"
import { join } from "node:path"
import { phi3 } from "../../../src/arch/phi3.ts"
import * as Checkpoint from "../../../src/source/Checkpoint.ts"
import { type Content, tinyLlama, tinyPhi3, type Value, write } from "./Writer.ts"

/** Opens what `files` hold in a folder of their own, at `at` ("": the folder). */
const opened = (files: Readonly<Record<string, Content>>, at: string) =>
  Effect.gen(function*() {
    const fs = yield* FileSystem.FileSystem
    const folder = yield* fs.makeTempDirectoryScoped()
    for (const [name, content] of Object.entries(files)) yield* fs.writeFile(join(folder, name), write(content))
    return yield* Checkpoint.open(join(folder, at))
  })

const withValues = (content: Content, values: Readonly<Record<string, Value>>): Content => ({
  ...content,
  values: { ...content.values, ...values }
})

const without = (content: Content, key: string): Content => ({
  ...content,
  values: Object.fromEntries(Object.entries(content.values).filter(([name]) => name !== key))
})

/** `content` in `count` files by the names that llama.cpp's split gives them. */
const split = (content: Content, count: number): Readonly<Record<string, Content>> =>
  Object.fromEntries(
    Array.from({ length: count }, (_, index) => {
      const own = { "split.no": { u16: index }, "split.count": { u16: count } }
      const all = Object.entries(content.tensors)
      const name = `tiny-0000${index + 1}-of-0000${count}.gguf`
      return [name, {
        values: index === 0 ? { ...content.values, ...own, "split.tensors.count": { u32: all.length } } : own,
        tensors: Object.fromEntries(all.filter((_, at) => at % count === index))
      }]
    })
  )

/** The vocabulary of a SentencePiece model, with an embedding for each token. */
const withPieces = (texts: ReadonlyArray<string>): Content => ({
  values: {
    ...tinyLlama.values,
    "tokenizer.ggml.model": { text: "llama" },
    "tokenizer.ggml.tokens": { texts },
    "tokenizer.ggml.token_type": { i32s: texts.map(() => 1) },
    "tokenizer.ggml.scores": { f32s: texts.map(() => 0) }
  },
  tensors: {
    ...tinyLlama.tensors,
    "token_embd.weight": { shape: [texts.length, 8], values: Array(texts.length * 8).fill(0) }
  }
})

/** A character once, twice, … `most` times: every two of these make a third. */
const runs = (character: string, most: number): ReadonlyArray<string> =>
  Array.from({ length: most }, (_, index) => character.repeat(index + 1))

const messageOf = (content: Content) =>
  Effect.map(Effect.flip(opened({ "tiny.gguf": content }, "tiny.gguf")), (error) => ({
    text: error.reason.message,
    code: error[Runtime.errorExitCode]
  }))

layer(NodeServices.layer)("readGguf", (it) => {
  it.effect.each([2, 3])("reads version %i", (version) =>
    Effect.gen(function*() {
      const checkpoint = yield* opened({ "tiny.gguf": { ...tinyLlama, version } }, "tiny.gguf")
      assert.strictEqual(checkpoint.name, "tiny")
      assert.deepInclude(checkpoint.config, {
        model_type: "llama",
        num_key_value_heads: 2,
        head_dim: 4,
        rope_theta: 10_000,
        tie_word_embeddings: true
      })
      assert.deepStrictEqual(checkpoint.generationConfig, { bos_token_id: 4, eos_token_id: [5] })
    }))

  it.effect("recognises a file by its content, and a folder by its only model", () =>
    Effect.gen(function*() {
      const byContent = yield* opened({ "tiny.bin": tinyLlama }, "tiny.bin")
      assert.strictEqual(byContent.kind, "gguf")
      const folder = yield* opened({ "tiny.gguf": tinyLlama }, "")
      assert.strictEqual(folder.path.split("/").at(-1), "tiny.gguf")
      const error = yield* Effect.flip(opened({ "one.gguf": tinyLlama, "two.gguf": tinyLlama }, ""))
      assert.include(error.message, "several GGUF models (one.gguf, two.gguf)")
    }))

  it.effect("takes the rows of llama's q and k out of their order, and leaves the rest as it lies", () =>
    Effect.gen(function*() {
      const { tensors } = yield* opened({
        "tiny.gguf": withValues(tinyLlama, {
          "llama.attention.head_count_kv": { u32: 2 }
        })
      }, "tiny.gguf")
      const q = tensors.get("model.layers.0.self_attn.q_proj.weight")
      assert.strictEqual(q?.coded?.format, "gguf/F32")
      assert.strictEqual(q?.coded?.interleavedHeads, 2)
      assert.deepStrictEqual(q?.coded?.pieces["blocks"]?.shape, [8, 32])
      assert.isUndefined(tensors.get("model.layers.0.self_attn.v_proj.weight")?.coded)
      assert.strictEqual(tensors.size, 11)
    }))

  it.effect("reads a split from any of its parts, and from its folder", () =>
    Effect.gen(function*() {
      const whole = yield* opened({ "tiny.gguf": tinyLlama }, "tiny.gguf")
      for (const at of ["", "tiny-00001-of-00003.gguf", "tiny-00003-of-00003.gguf"]) {
        const parts = yield* opened(split(tinyLlama, 3), at)
        assert.deepStrictEqual([...parts.tensors.keys()].sort(), [...whole.tensors.keys()].sort())
        assert.deepStrictEqual(parts.config, whole.config)
        assert.strictEqual(parts.files.length, 3)
        assert.strictEqual(parts.name, "tiny")
        assert.strictEqual(new Set(Array.from(parts.tensors.values(), ({ range }) => range.file)).size, 3)
      }
    }))

  it.effect("names what a split lacks", () =>
    Effect.gen(function*() {
      const { "tiny-00002-of-00003.gguf": second, ...rest } = split(tinyLlama, 3)
      assert.isDefined(second)
      const missing = yield* Effect.flip(opened(rest, "tiny-00001-of-00003.gguf"))
      assert.include(missing.message, "tiny-00002-of-00003.gguf is missing (no such file)")
      assert.include(missing.message, "3 parts")
      assert.notInclude(missing.message, "download the file again")
      const other = split(tinyLlama, 2)["tiny-00002-of-00002.gguf"] ?? tinyLlama
      const wrong = yield* Effect.flip(opened({ ...rest, "tiny-00002-of-00003.gguf": other }, ""))
      assert.include(wrong.message, "split.count: expected 3")
    }))

  it.effect("names the part of a split that has another name", () =>
    Effect.gen(function*() {
      const { "tiny-00001-of-00003.gguf": first = tinyLlama, ...rest } = split(tinyLlama, 3)
      const renamed = { ...rest, "renamed.gguf": first }
      const opening = yield* Effect.flip(opened(renamed, "renamed.gguf"))
      assert.include(opening.message, "tiny-00001-of-00003.gguf is missing")
      assert.include(opening.message, "renamed.gguf says that it is part 1")
      const folder = yield* Effect.flip(opened(renamed, ""))
      assert.include(folder.message, "tiny-00001-of-00003.gguf is missing")
      assert.include(folder.message, "split into 3 parts")
      const alone = yield* Effect.flip(opened({ "renamed.gguf": first }, ""))
      assert.include(alone.message, "model-00001-of-00003.gguf, or such a name, is missing")
      for (const error of [opening, folder, alone]) assert.strictEqual(error[Runtime.errorExitCode], 3)
    }))

  it.effect("names the nearest architecture", () =>
    Effect.gen(function*() {
      const { code, text } = yield* messageOf(withValues(tinyLlama, { "general.architecture": { text: "llama4" } }))
      assert.strictEqual(code, 4)
      assert.include(text, "general.architecture")
      assert.match(text, /nearest[^;]*: llama\b/)
    }))

  it.effect("gives phi3 its factors for short and for long runs", () =>
    Effect.gen(function*() {
      const { config } = yield* opened({ "tiny.gguf": tinyPhi3 }, "tiny.gguf")
      const { facts } = Result.getOrThrow(phi3.read(config))
      const [rope] = facts.ropes
      assert.strictEqual(rope?.attentionFactor, 1.25)
      assert.strictEqual(rope?.long?.above, 32)
      // theta^(-2i / 4) by each pair's factor
      assert.deepStrictEqual(rope?.inverseFrequencies, [1, 1 / 150].map(Math.fround))
      assert.deepStrictEqual(rope?.long?.inverseFrequencies, [1 / 2, 1 / 400].map(Math.fround))
    }))

  it.effect.each<readonly [name: string, content: Content, code: number, mention: string]>([
    ["a cut that nobody knows", withValues(tinyLlama, { "tokenizer.ggml.pre": { text: "nosuch" } }), 4, "qwen2"],
    ["a tokenizer that is not built", withValues(tinyLlama, { "tokenizer.ggml.model": { text: "bert" } }), 4, "bert"],
    [
      "a merge of tokens that are none",
      withValues(tinyLlama, { "tokenizer.ggml.merges": { texts: ["a x"] } }),
      3,
      "tokenizer.ggml.merges[0]"
    ],
    [
      "a token past the vocabulary",
      withValues(tinyLlama, { "tokenizer.ggml.bos_token_id": { u32: 6 } }),
      3,
      "tokenizer.ggml.bos_token_id"
    ],
    ["experts", withValues(tinyLlama, { "llama.expert_count": { u32: 8 } }), 4, "a mixture of experts"],
    ["an adapter", withValues(tinyLlama, { "general.type": { text: "adapter" } }), 4, "general.type"],
    ["a scaling that nobody knows", withValues(tinyLlama, { "llama.rope.scaling.type": { text: "su" } }), 4, "yarn"],
    ["no tokens", without(tinyLlama, "tokenizer.ggml.tokens"), 3, "tokenizer.ggml.tokens"],
    [
      "a begin token that is not named",
      without(withValues(tinyLlama, { "tokenizer.ggml.add_bos_token": { bool: true } }), "tokenizer.ggml.bos_token_id"),
      3,
      "tokenizer.ggml.bos_token_id"
    ],
    [
      "a table of the wrong length",
      { ...tinyLlama, tensors: { ...tinyLlama.tensors, "rope_freqs.weight": { shape: [3], values: [1, 1, 1] } } },
      3,
      "rope_freqs.weight"
    ],
    [
      "a table with a zero",
      { ...tinyLlama, tensors: { ...tinyLlama.tensors, "rope_freqs.weight": { shape: [2], values: [1, 0] } } },
      3,
      "rope_freqs.weight"
    ],
    [
      "a scale beside a weight",
      { ...tinyLlama, tensors: { ...tinyLlama.tensors, "blk.0.attn_q.scale": { shape: [1], values: [1] } } },
      4,
      "blk.0.attn_q.scale"
    ],
    [
      "tokens of too much text",
      withPieces(["a".repeat(2 ** 23), "b", "c", "d", "e", "f"]),
      3,
      "characters in all tokens"
    ],
    [
      "tokens that would take long to be made of each other",
      withPieces(["a", "b", "c", "d", "e", "f".repeat(2 ** 14)]),
      3,
      "tokenizer.ggml.tokens: expected tokens that are made of each other"
    ],
    [
      "more merges than a vocabulary can have",
      withPieces(runs("\u4e00", 140).flatMap((_, index) => runs(String.fromCharCode(0x4e00 + index), 100))),
      3,
      "tokenizer.ggml.tokens: expected tokens that are made of each other in at most 655360 ways"
    ],
    [
      "a text of which a tenth would be a long chat template",
      withValues(tinyLlama, { "tokenizer.chat_template": { text: "a".repeat(2 ** 20 + 1) } }),
      3,
      "tokenizer.chat_template: expected a string of UTF-8, of at most 1048576 bytes, found a string of 1048577 bytes"
    ],
    [
      "biases in llama",
      {
        ...tinyLlama,
        tensors: { ...tinyLlama.tensors, "blk.0.attn_q.bias": { shape: [8], values: Array(8).fill(1) } }
      },
      4,
      "blk.0.attn_q.bias"
    ]
  ])("refuses %s", ([, content, code, mention]) =>
    Effect.gen(function*() {
      const error = yield* messageOf(content)
      assert.include(error.text, mention)
      assert.strictEqual(error.code, code)
    }))

  it.effect("says where a file does not tell how its text is cut", () =>
    Effect.gen(function*() {
      const checkpoint = yield* opened({ "tiny.gguf": without(tinyLlama, "tokenizer.ggml.pre") }, "tiny.gguf")
      assert.include(checkpoint.warnings.join(), "tokenizer.ggml.pre is missing")
    }))
})
