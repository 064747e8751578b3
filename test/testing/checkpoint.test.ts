import { NodeServices } from "@effect/platform-node"
import { assert, describe, layer } from "@effect/vitest"
import { Effect, FileSystem, Layer, Path, Stream } from "effect"
import { architectures } from "../../src/arch/registry.ts"
import { Checkpoint, Compiler, compilerFor, Progress, Runner } from "../../src/index.ts"
import { openTokenizer } from "../../src/run/Tokenizer.ts"
import { fromBf16 } from "../../src/tensor/Float.ts"
import { checkpoint } from "../../src/testing.ts"
import { requestFor } from "./Build.ts"

const Platform = Layer.merge(NodeServices.layer, Progress.layerSilent)
const weightsOf = (folder: string) =>
  Effect.gen(function*() {
    const fs = yield* FileSystem.FileSystem
    const path = yield* Path.Path
    return yield* fs.readFile(path.join(folder, "model.safetensors"))
  })

layer(Platform, { excludeTestServices: true })("checkpoint", (it) => {
  describe.each(architectures)("$name", ({ name }) => {
    it.effect("is compiled for this machine and generates", () =>
      Effect.gen(function*() {
        const request = yield* requestFor({ family: name }, { quantizeEmbeddings: true })
        const compile = Effect.flatMap(Compiler, (compiler) => compiler.compile(request))
        const report = yield* Effect.provide(compile, compilerFor(request))
        assert.strictEqual(report.archives, 2)
        const runner = yield* Runner.open(request.output, { cache: `${request.output}-cache`, threads: 1 })
        const ids = yield* runner.encode("Hi")
        const events = yield* Stream.runCollect(runner.generate({ ids, maxNewTokens: 3, ignoreEos: true }))
        assert.deepStrictEqual(events.map(({ kind }) => kind), ["token", "token", "token", "end"])
      }))
  })

  it.effect("gives equal bytes for equal seeds and others for others", () =>
    Effect.gen(function*() {
      const [one, again, two] = yield* Effect.forEach([1, 1, 2], (seed) =>
        Effect.flatMap(checkpoint({ seed }), weightsOf))
      assert.deepStrictEqual(one, again)
      assert.notDeepEqual(one, two)
    }))

  it.effect("has the sizes that were asked for, and numbers of a model's magnitude", () =>
    Effect.gen(function*() {
      const folder = yield* checkpoint({ layers: 3, hidden: 96, intermediate: 160, vocabulary: 300, tied: true })
      const { config, tensors } = yield* Checkpoint.open(folder)
      assert.deepInclude(config, { num_hidden_layers: 3, hidden_size: 96, tie_word_embeddings: true })
      assert.deepStrictEqual(tensors.get("model.embed_tokens.weight")?.shape, [300, 96])
      assert.deepStrictEqual(tensors.get("model.layers.2.mlp.down_proj.weight")?.shape, [96, 160])
      assert.isFalse(tensors.has("lm_head.weight"))
      const range = tensors.get("model.layers.0.self_attn.q_proj.weight")?.range
      const bytes = yield* weightsOf(folder)
      const view = new DataView(bytes.buffer, bytes.byteOffset + (range?.offset ?? 0), range?.length ?? 0)
      const numbers = Array.from({ length: view.byteLength / 2 }, (_, i) => fromBf16(view.getUint16(2 * i, true)))
      const variance = numbers.reduce((sum, number) => sum + number ** 2, 0) / numbers.length
      // uniform over ±sqrt(3 / 96): variance 1/96, its estimate from 9216 numbers within 5 %
      assert.closeTo(variance * 96, 1, 0.05)
    }))

  it.effect("takes more keys of config.json", () =>
    Effect.gen(function*() {
      const folder = yield* checkpoint({ family: "mistral", config: { sliding_window: 16, rope_theta: 500_000 } })
      const { config } = yield* Checkpoint.open(folder)
      assert.deepInclude(config, { sliding_window: 16, rope_theta: 500_000 })
    }))

  it.effect("refuses a configuration that the family does not take", () =>
    Effect.gen(function*() {
      const error = yield* Effect.flip(checkpoint({ heads: 4, keyValueHeads: 3 }))
      assert.strictEqual(error._tag, "SourceError")
      assert.include(error.message, "num_attention_heads: expected a multiple of num_key_value_heads (3), found 4")
    }))

  it.effect("has a tokenizer that reads any text", () =>
    Effect.gen(function*() {
      const { chat, decode, encode } = yield* openTokenizer(yield* checkpoint())
      const text = "naïve 🙂\n\t\0end  "
      const ids = yield* encode(text)
      assert.deepStrictEqual(ids, [...new TextEncoder().encode(text)])
      assert.strictEqual(yield* decode([...ids, 256]), text)
      assert.strictEqual(yield* decode(yield* chat([{ role: "user", content: "hi" }])), "user: hi\nassistant: ")
    }))

  it.effect("leaves nothing behind", () =>
    Effect.gen(function*() {
      const fs = yield* FileSystem.FileSystem
      const folder = yield* Effect.scoped(Effect.tap(checkpoint(), (folder) => fs.access(folder)))
      assert.isFalse(yield* fs.exists(folder))
    }))
})
