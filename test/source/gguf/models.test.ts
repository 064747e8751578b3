import * as NodeServices from "@effect/platform-node/NodeServices"
import { assert, layer } from "@effect/vitest"
import { Effect, FileSystem, Result, Schema } from "effect"
import { createHash } from "node:crypto"
import { readdirSync, readFileSync } from "node:fs"
import { join } from "node:path"
import { find } from "../../../src/arch/registry.ts"
import { formatOf } from "../../../src/quantize/format/registry.ts"
import { openTokenizer } from "../../../src/run/Tokenizer.ts"
import * as Checkpoint from "../../../src/source/Checkpoint.ts"
import { decodeFloats } from "../../../src/tensor/Float.ts"
import type { Tensor } from "../../../src/tensor/Tensor.ts"

const root = join(import.meta.dirname, "../../fixtures/gguf")

const Shape = Schema.Array(Schema.Int)

const Expected = Schema.Struct({
  config: Schema.Record(Schema.String, Schema.Unknown),
  file_tensors: Schema.Record(
    Schema.String,
    Schema.Struct({ type: Schema.String, shape: Shape, data_offset: Schema.Int, bytes: Schema.Int })
  ),
  hf_tensors: Schema.Record(Schema.String, Schema.Struct({ shape: Shape, sha256_f32le: Schema.String })),
  tokenizer: Schema.Struct({
    samples: Schema.Array(Schema.Struct({ text: Schema.String, ids: Schema.Array(Schema.Int) }))
  })
})

const expectedOf = (name: string) =>
  Schema.decodeSync(Schema.fromJsonString(Expected))(readFileSync(join(root, `${name}.expected.json`), "utf8"))

const names = readdirSync(root).filter((name) => name.endsWith(".gguf")).map((name) => name.slice(0, -5))

const bytesOf = (file: Uint8Array, { range: { length, offset } }: Tensor): Uint8Array =>
  file.subarray(offset, offset + length)

/** The numbers that the tensor holds, by the format's reference arithmetic. */
const numbersOf = (file: Uint8Array, tensor: Tensor): Float32Array => {
  if (tensor.coded !== undefined) {
    const pieces = Object.entries(tensor.coded.pieces).map(([name, piece]) => [name, bytesOf(file, piece)] as const)
    return formatOf(tensor).values(tensor, Object.fromEntries(pieces))
  }
  assert.isTrue(tensor.dtype === "f32" || tensor.dtype === "f16" || tensor.dtype === "bf16")
  return decodeFloats(tensor.dtype === "f32" || tensor.dtype === "f16" ? tensor.dtype : "bf16", bytesOf(file, tensor))
}

const modelOf = (config: Readonly<Record<string, unknown>>) => {
  const read = find(`${config["model_type"]}`)?.read(config)
  assert.isDefined(read)
  return Result.getOrThrowWith(read, (problems) => new Error(JSON.stringify(problems)))
}

layer(NodeServices.layer)("open", (it) => {
  it.effect.each(names)("reads the tensors of %s as Hugging Face has them", (name) =>
    Effect.gen(function*() {
      const expected = expectedOf(name)
      const path = join(root, `${name}.gguf`)
      const checkpoint = yield* Checkpoint.open(path)
      const file = readFileSync(path)
      assert.deepStrictEqual([...checkpoint.tensors.keys()].sort(), Object.keys(expected.hf_tensors).sort())
      for (const tensor of checkpoint.tensors.values()) {
        const { sha256_f32le: sha256, shape } = expected.hf_tensors[tensor.name] ?? { sha256_f32le: "", shape: [] }
        assert.deepStrictEqual(tensor.shape, shape, tensor.name)
        const numbers = numbersOf(file, tensor)
        const bytes = new Uint8Array(numbers.buffer, numbers.byteOffset, numbers.byteLength)
        assert.strictEqual(createHash("sha256").update(bytes).digest("hex"), sha256, tensor.name)
      }
      // each range is one of the file's
      const ranges = Array.from(checkpoint.tensors.values(), ({ range }) => `${range.offset}+${range.length}`)
      const stored = Object.entries(expected.file_tensors).filter(([one]) => one !== "rope_freqs.weight")
      assert.deepStrictEqual(
        ranges.sort(),
        stored.map(([, { bytes, data_offset }]) => `${data_offset}+${bytes}`).sort()
      )
    }))

  it.effect.each(names)(
    "reads the configuration of %s as its family does Hugging Face's",
    (name) =>
      Effect.gen(function*() {
        const expected = modelOf(expectedOf(name).config)
        const checkpoint = yield* Checkpoint.open(join(root, `${name}.gguf`))
        const model = modelOf(checkpoint.config)
        const { ropes, ...facts } = model.facts
        const { ropes: expectedRopes, ...rest } = expected.facts
        assert.deepStrictEqual(facts, rest)
        assert.deepStrictEqual(ropes.map((rope) => rope.name), expectedRopes.map((rope) => rope.name))
        for (const [at, rope] of ropes.entries()) {
          const other = expectedRopes[at]?.inverseFrequencies ?? []
          assert.strictEqual(rope.inverseFrequencies.length, other.length)
          // factors in the file are rounded once more
          for (const [i, value] of rope.inverseFrequencies.entries()) {
            assert.closeTo(value / (other[i] ?? 0), 1, 3e-7)
          }
        }
        assert.deepStrictEqual(model.tensors.map((one) => one.name).sort(), [...checkpoint.tensors.keys()].sort())
      })
  )

  it.effect.each(names)("makes the tokenizer of %s", (name) =>
    Effect.gen(function*() {
      const { samples } = expectedOf(name).tokenizer
      const checkpoint = yield* Checkpoint.open(join(root, `${name}.gguf`))
      const fs = yield* FileSystem.FileSystem
      const folder = yield* fs.makeTempDirectoryScoped()
      for (const [file, text] of checkpoint.made()) yield* fs.writeFileString(join(folder, file), text)
      const tokenizer = yield* openTokenizer(folder)
      for (const { ids, text } of samples) {
        assert.deepStrictEqual(yield* tokenizer.encode(text), ids)
        assert.strictEqual(yield* tokenizer.decode(ids), text)
      }
      const chat = yield* tokenizer.render([{ role: "user", content: "Hi" }], true)
      assert.strictEqual(chat, "<user>Hi\n<assistant>")
    }))
})
