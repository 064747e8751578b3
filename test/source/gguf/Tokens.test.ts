import * as NodeServices from "@effect/platform-node/NodeServices"
import { assert, describe, it, layer } from "@effect/vitest"
import { Effect, FileSystem, Schema } from "effect"
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

const Encoded = Schema.Array(Schema.Struct({ text: Schema.String, ids_with_special: Schema.Array(Schema.Int) }))
const Decoded = Schema.Array(
  Schema.Struct({ ids: Schema.Array(Schema.Int), text: Schema.String, text_without_special: Schema.String })
)

/** Metadata as llama.cpp's converter makes it of a tokenizer shaped as Llama 2's. */
const metadataOf = (folder: string): { readonly count: number; readonly values: Readonly<Record<string, Value>> } => {
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
const within = ({ text }: { readonly text: string }): boolean =>
  !text.startsWith("\u{FEFF}") && text !== " " && !text.includes("<unk>")

layer(NodeServices.layer)("made", (it) => {
  it.effect("turns text into tokens and back as the tokenizer did that the scores come from", () =>
    Effect.gen(function*() {
      const { count, values } = metadataOf("bpe")
      const kept = Object.entries(tinyLlama.values).filter(([key]) => !key.startsWith("tokenizer."))
      const embedding = { shape: [count, 8], values: Array.from({ length: count * 8 }, () => 0) }
      const fs = yield* FileSystem.FileSystem
      const folder = yield* fs.makeTempDirectoryScoped()
      yield* fs.writeFile(
        join(folder, "model.gguf"),
        write({
          values: { ...Object.fromEntries(kept), ...values },
          tensors: { ...tinyLlama.tensors, "token_embd.weight": embedding }
        })
      )
      const checkpoint = yield* Checkpoint.open(join(folder, "model.gguf"))
      for (const [name, text] of checkpoint.made()) yield* fs.writeFileString(join(folder, name), text)
      const tokenizer = yield* openTokenizer(folder)
      for (const { ids_with_special, text } of read("bpe/encode.json", Encoded)) {
        assert.deepStrictEqual(yield* tokenizer.encode(text), ids_with_special, JSON.stringify(text))
      }
      for (const { ids, text_without_special } of read("bpe/decode.json", Decoded).filter(within)) {
        assert.strictEqual(tokenizer.decode(ids), text_without_special)
      }
    }))
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
