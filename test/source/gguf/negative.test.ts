import * as NodeServices from "@effect/platform-node/NodeServices"
import { assert, layer } from "@effect/vitest"
import { Effect, Runtime } from "effect"
import { readdirSync } from "node:fs"
import { join } from "node:path"
import * as Checkpoint from "../../../src/source/Checkpoint.ts"
import { SourceError } from "../../../src/source/SourceError.ts"

const root = join(import.meta.dirname, "../../fixtures/gguf/negative")

/** What each file's error has to say, and its exit code: as the table of the fixtures' README asks. */
const cases: Readonly<Record<string, readonly [code: number, ...mentions: ReadonlyArray<string>]>> = {
  empty: [3, "empty.gguf", "not a GGUF"],
  "three-bytes": [3, "three-bytes.gguf", "too short"],
  "bad-magic": [3, "GGUX", "GGUF"],
  "legacy-ggjt": [4, "ggjt", "old format", "not supported"],
  "version-1": [4, "version 1", "supported versions: 2 and 3"],
  "version-99": [4, "version 99", "supported versions: 2 and 3"],
  "big-endian": [4, "big-endian"],
  "truncated-header": [3, "byte offset", "end of file"],
  "truncated-tensor-info": [3, "tensor table", "end of file"],
  "truncated-data": [3, "bytes", "end of file"],
  "tensor-count-2e40": [3, "tensor count 1099511627776"],
  "kv-count-2e40": [3, "key/value count 1099511627776"],
  "string-past-end": [3, "general.size_label", "length", "past the end of the file"],
  "string-length-wraps": [3, "general.size_label", "length"],
  "key-past-end": [3, "key 0", "length"],
  "array-nesting-bomb": [3, "x.bomb", "nested arrays"],
  "array-length-2e40": [3, "x.long", "length", "past the end of the file"],
  "array-of-strings-2e40": [3, "x.strings", "length"],
  "value-type-99": [3, "x.kind", "value type 99"],
  "kv-duplicate": [3, "llama.context_length"],
  "architecture-missing": [3, "general.architecture"],
  "architecture-unknown": [4, "nosuchnet", "supported", "qwen3"],
  "architecture-not-a-string": [3, "general.architecture", "string"],
  "block-count-missing": [3, "llama.block_count"],
  "head-count-zero": [3, "llama.attention.head_count", "found 0"],
  "head-count-a-string": [3, "llama.attention.head_count", "integer"],
  "alignment-zero": [3, "general.alignment", "found 0"],
  "alignment-24": [3, "general.alignment", "24"],
  "tensor-type-250": [4, "blk.0.attn_k.weight", "type 250"],
  "tensor-type-removed": [4, "blk.0.attn_k.weight", "type 4"],
  "tensors-overlap": [3, "blk.0.attn_k.weight", "overlap", "blk.0.attn_q.weight"],
  "offset-unaligned": [3, "output_norm.weight", "offset", "alignment 32"],
  "offset-past-end": [3, "blk.0.attn_k.weight", "offset", "end of the file"],
  "offset-wraps": [3, "blk.0.attn_k.weight", "offset"],
  "tensor-duplicate": [3, "blk.0.attn_k.weight", "twice"],
  "five-dimensions": [3, "blk.0.attn_k.weight", "5 dimensions"],
  "shape-overflow": [3, "blk.0.attn_k.weight", "shape"],
  "row-not-block-multiple": [3, "blk.0.attn_k.weight", "32", "256"],
  "shape-wrong": [3, "output_norm.weight", "shape"],
  "tensor-missing": [3, "output_norm.weight"],
  "vocabulary-mismatch": [3, "token_embd.weight", "320", "300"],
  "split-first-of-three": [3, "split", "3 parts"],
  "key-not-utf8": [3, "key", "UTF-8"]
}

layer(NodeServices.layer)("open", (it) => {
  it.effect.each(Object.entries(cases))("refuses %s", ([name, [code, ...mentions]]) =>
    Effect.gen(function*() {
      const path = join(root, `${name}.gguf`)
      const error = yield* Effect.flip(Checkpoint.open(path))
      assert.instanceOf(error, SourceError)
      assert.strictEqual(error.path, path)
      // the path of the file is no help, because it holds the case's name
      const text = mentions[0] === `${name}.gguf` ? error.message : error.reason.message
      for (const mention of mentions) assert.include(text, mention)
      assert.strictEqual(error[Runtime.errorExitCode], code)
      assert.notInclude(text, "not built yet")
    }))

  it.effect("names the tensor that was cut", () =>
    Effect.gen(function*() {
      const error = yield* Effect.flip(Checkpoint.open(join(root, "truncated-data.gguf")))
      assert.strictEqual(error.reason._tag, "Truncated")
      if (error.reason._tag !== "Truncated") return
      const { expected, fileExpected, fileFound, found, tensor } = error.reason
      assert.deepStrictEqual([tensor, expected - found, fileExpected - fileFound], ["output_norm.weight", 100, 100])
    }))

  it.effect("takes the control, and knows every file of the folder", () =>
    Effect.gen(function*() {
      const checkpoint = yield* Checkpoint.open(join(root, "valid.gguf"))
      assert.strictEqual(checkpoint.kind, "gguf")
      const names = readdirSync(root).filter((name) => name.endsWith(".gguf")).map((name) => name.slice(0, -5))
      assert.deepStrictEqual(names.sort(), [...Object.keys(cases), "valid"].sort())
    }))
})
