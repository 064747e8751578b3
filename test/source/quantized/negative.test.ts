import * as NodeServices from "@effect/platform-node/NodeServices"
import { assert, layer } from "@effect/vitest"
import { Effect, FileSystem, Layer, Runtime, Schema } from "effect"
import { existsSync, readFileSync } from "node:fs"
import { join } from "node:path"
import { formatOf } from "../../../src/quantize/format/registry.ts"
import { Kernels } from "../../../src/quantize/Kernels.ts"
import { guard } from "../../../src/quantize/WeightFacts.ts"
import * as Checkpoint from "../../../src/source/Checkpoint.ts"
import { SourceError } from "../../../src/source/SourceError.ts"

const root = join(import.meta.dirname, "../../fixtures/compressed/negative")

const { controls, folders } = Schema.decodeSync(Schema.fromJsonString(Schema.Struct({
  controls: Schema.Array(Schema.String),
  folders: Schema.Array(Schema.Struct({
    folder: Schema.String,
    message_names: Schema.Array(Schema.String),
    weights_present: Schema.Boolean
  }))
})))(readFileSync(join(root, "expected.json"), "utf8"))

/** Not wrong before the model family, or the numbers, are looked at. */
const later = new Set(["module-absent", "scale-nan"])

const mentions = (folder: string) => folders.find((one) => one.folder === folder)?.message_names ?? []

const checkMessage = (folder: string, text: string) => {
  for (const mention of mentions(folder)) assert.include(text.replaceAll(join(root, folder), ""), mention)
}

/** The folder, with the tokenizer of a control where it has none: only what is said to be wrong shall be. */
const prepared = Effect.fnUntraced(function*(folder: string) {
  const fs = yield* FileSystem.FileSystem
  const path = yield* fs.makeTempDirectoryScoped()
  yield* fs.copy(join(root, folder), path)
  for (const name of ["tokenizer.json", "tokenizer_config.json"]) {
    yield* fs.copy(join(root, "valid", name), join(path, name))
  }
  return path
})

layer(Layer.merge(Kernels.layer(1), NodeServices.layer), { excludeTestServices: true })("open", (it) => {
  it.effect.each(controls)("takes %s", (name) =>
    Effect.gen(function*() {
      const { kind, tensors } = yield* Checkpoint.open(join(root, name))
      assert.strictEqual(kind, "quantized")
      assert.deepInclude(tensors.get("model.layers.0.self_attn.q_proj.weight"), { dtype: "f32", shape: [64, 64] })
    }))

  it.effect.each(folders.filter(({ folder }) => !later.has(folder)))(
    "refuses $folder",
    ({ folder, weights_present: hasWeights }) =>
      Effect.gen(function*() {
        assert.strictEqual(existsSync(join(root, folder, "model.safetensors")), hasWeights)
        const path = hasWeights ? yield* prepared(folder) : join(root, folder)
        const error = yield* Effect.flip(Checkpoint.open(path))
        assert.instanceOf(error, SourceError)
        checkMessage(folder, error.message)
        assert.strictEqual(error[Runtime.errorExitCode], hasWeights ? 3 : 4)
        if (!hasWeights) assert.include(error.message, "use the unquantised checkpoint")
      })
  )

  it.effect("lets a family find that a module is absent", () =>
    Effect.gen(function*() {
      const { tensors } = yield* Checkpoint.open(join(root, "valid"))
      const expected = Array.from(tensors.values(), ({ name, shape }) => ({ name, shape }))
      const checkpoint = yield* Checkpoint.open(yield* prepared("module-absent"))
      const dtypes = ["f32", "bf16"] as const
      const error = yield* Effect.flip(Effect.fromResult(Checkpoint.expect(checkpoint, expected, dtypes)))
      checkMessage("module-absent", error.message)
      assert.strictEqual(error[Runtime.errorExitCode], 3)
    }))

  it.effect("lets the kernels find that scales are NaN", () =>
    Effect.gen(function*() {
      const { tensors } = yield* Checkpoint.open(yield* prepared("scale-nan"))
      const tensor = tensors.get("model.layers.0.self_attn.q_proj.weight")
      if (tensor === undefined) return yield* Effect.die("no tensor")
      assert.isDefined(formatOf(tensor).form(tensor))
      const facts = yield* (yield* Kernels).scan(tensor)
      const error = yield* Effect.flip(Effect.fromResult(guard(tensor, facts)))
      checkMessage("scale-nan", error.message)
      assert.strictEqual(error[Runtime.errorExitCode], 3)
    }))
})
