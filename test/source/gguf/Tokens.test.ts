import * as NodeServices from "@effect/platform-node/NodeServices"
import { assert, describe, it, layer } from "@effect/vitest"
import { Effect, FileSystem, Result, Schema } from "effect"
import { readFileSync } from "node:fs"
import { join } from "node:path"
import { openTokenizer } from "../../../src/run/Tokenizer.ts"
import * as Checkpoint from "../../../src/source/Checkpoint.ts"
import { mergesOf } from "../../../src/source/gguf/Merges.ts"
import { tinyLlama, type Value, write } from "./Writer.ts"

const root = join(import.meta.dirname, "../../fixtures/tokenizer")

const read = <A>(path: string, schema: Schema.Codec<A, unknown>): A =>
  Schema.decodeSync(Schema.fromJsonString(schema))(readFileSync(join(root, path), "utf8"))

const Tokenizer = Schema.Struct({
  added_tokens: Schema.Array(Schema.Struct({ id: Schema.Int, content: Schema.String })),
  model: Schema.Struct({
    vocab: Schema.Record(Schema.String, Schema.Int),
    merges: Schema.Array(Schema.Tuple([Schema.String, Schema.String]))
  })
})

const Ids = Schema.Array(Schema.Int)
const Encoded = Schema.Array(
  Schema.Struct({ text: Schema.String, ids: Ids, ids_with_special: Schema.optionalKey(Ids) })
)
const Decoded = Schema.Array(Schema.Struct({ ids: Ids, text_without_special: Schema.String }))
const Chat = Schema.Array(Schema.Struct({
  messages: Schema.Array(
    Schema.Struct({ role: Schema.Literals(["assistant", "system", "tool", "user"]), content: Schema.String })
  ),
  add_generation_prompt: Schema.Boolean,
  text: Schema.optionalKey(Schema.String),
  error: Schema.optionalKey(Schema.String)
}))

const Template = Schema.Struct({ chat_template: Schema.String })

const Reduced = Schema.Struct({
  size: Schema.Int,
  added: Schema.Record(Schema.String, Schema.Int),
  tokens: Schema.Record(Schema.String, Schema.Int),
  merges: Schema.Array(Schema.String)
})

/** Metadata as llama.cpp's converter makes it of SmolLM2's tokenizer; tokens that no text needs are left empty. */
const byteLevel = (folder: string): Made => {
  const { added, merges, size, tokens } = read(`${folder}/vocabulary.json`, Reduced)
  const texts = Array.from({ length: size }, () => "")
  const types = texts.map(() => 5)
  for (const [token, id] of Object.entries(tokens)) [texts[id], types[id]] = [token, 1]
  for (const [token, id] of Object.entries(added)) [texts[id], types[id]] = [token, 3]
  return {
    count: size,
    values: {
      "tokenizer.ggml.model": { text: "gpt2" },
      "tokenizer.ggml.pre": { text: "smollm" },
      "tokenizer.ggml.tokens": { texts },
      "tokenizer.ggml.token_type": { i32s: types },
      "tokenizer.ggml.merges": { texts: merges },
      "tokenizer.ggml.add_bos_token": { bool: false },
      "tokenizer.ggml.bos_token_id": { u32: 1 },
      "tokenizer.ggml.eos_token_id": { u32: 2 },
      "tokenizer.ggml.unknown_token_id": { u32: 0 }
    }
  }
}

/** How many tokens, and what says which. */
interface Made {
  readonly count: number
  readonly values: Readonly<Record<string, Value>>
}

/** Metadata as llama.cpp's converter makes it of a tokenizer shaped as Llama 2's. */
const pieces = (folder: string): Made => {
  const { added_tokens, model } = read(`${folder}/tokenizer.json`, Tokenizer)
  const tokens = Object.entries(model.vocab).sort((a, b) => a[1] - b[1]).map(([token]) => token)
  const special = new Set(added_tokens.map(({ id }) => id))
  const made = model.merges.map((merge) => merge.join(""))
  return {
    count: tokens.length,
    values: {
      "tokenizer.ggml.model": { text: "llama" },
      "tokenizer.ggml.tokens": { texts: tokens },
      "tokenizer.ggml.token_type": {
        i32s: tokens.map((token, id) => special.has(id) ? 3 : /^<0x[0-9A-F]{2}>$/.test(token) ? 6 : 1)
      },
      // a piece that comes of an earlier merge has the better score
      "tokenizer.ggml.scores": { f32s: tokens.map((token) => made.includes(token) ? -made.indexOf(token) : -1e4) },
      "tokenizer.ggml.add_bos_token": { bool: true },
      "tokenizer.ggml.bos_token_id": { u32: 1 },
      "tokenizer.ggml.eos_token_id": { u32: 2 },
      "tokenizer.ggml.unknown_token_id": { u32: 0 }
    }
  }
}

// What @huggingface/tokenizers 0.2.0 decodes otherwise, as in the tests of the runner.
const within = ({ text_without_special: text }: (typeof Decoded.Type)[number]): boolean =>
  !text.startsWith("\u{FEFF}") && text !== " "

/** The tokenizer that is made of a GGUF file with this metadata. */
const tokenizerOf = Effect.fnUntraced(function*(name: string, { count, values }: Made) {
  const kept = Object.entries(tinyLlama.values).filter(([key]) => !key.startsWith("tokenizer."))
  const embedding = { shape: [count, 8], values: Array.from({ length: count * 8 }, () => 0) }
  const fs = yield* FileSystem.FileSystem
  const folder = yield* fs.makeTempDirectoryScoped()
  const template = read(`${name}/tokenizer_config.json`, Template).chat_template
  yield* fs.writeFile(
    join(folder, "model.gguf"),
    write({
      values: { ...Object.fromEntries(kept), ...values, "tokenizer.chat_template": { text: template } },
      tensors: { ...tinyLlama.tensors, "token_embd.weight": embedding }
    })
  )
  const checkpoint = yield* Checkpoint.open(join(folder, "model.gguf"))
  for (const [name, text] of checkpoint.made()) yield* fs.writeFileString(join(folder, name), text)
  return yield* openTokenizer(folder)
})

layer(NodeServices.layer)("made", (it) => {
  it.effect.each<readonly [name: string, made: (name: string) => Made]>([["bpe", pieces], ["smollm2", byteLevel]])(
    "encodes, decodes and asks as the tokenizer did that the metadata comes from: %s",
    ([name, made]) =>
      Effect.gen(function*() {
        const tokenizer = yield* tokenizerOf(name, made(name))
        const encoded = read(`${name}/encode.json`, Encoded)
        assert.strictEqual(encoded.length, 290)
        for (const { ids, ids_with_special, text } of encoded) {
          assert.deepStrictEqual(yield* tokenizer.encode(text), ids_with_special ?? ids, JSON.stringify(text))
        }
        const decoded = read(`${name}/decode.json`, Decoded).filter(within)
        assert.isAbove(decoded.length, 200)
        for (const { ids, text_without_special: text } of decoded) {
          assert.strictEqual(yield* tokenizer.decode(ids), text)
        }
        const chats = read(`${name}/chat.json`, Chat)
        assert.isAbove(chats.length, 20)
        for (const { add_generation_prompt, error, messages, text } of chats) {
          const rendered = yield* Effect.result(tokenizer.render(messages, add_generation_prompt))
          if (error === undefined) assert.strictEqual(Result.getOrThrow(rendered), text)
          else assert.isTrue(Result.isFailure(rendered))
        }
      })
  )
})

describe("mergesOf", () => {
  it("puts the best score first, and of one piece the longer left part", () => {
    const tokens = ["a", "b", "ab", "ba", "aba"]
    assert.deepStrictEqual([...mergesOf(tokens, [1, 1, 1, 1, 1], [-9, -9, -2, -1, -3])], [
      ["b", "a"],
      ["a", "b"],
      ["ab", "a"],
      ["a", "ba"]
    ])
  })

  it("makes no control token", () => {
    assert.deepStrictEqual([...mergesOf(["<", "s>", "<s>"], [1, 1, 3], [0, 0, 0])], [])
  })
})
