import * as NodeServices from "@effect/platform-node/NodeServices"
import { assert, describe, it, layer } from "@effect/vitest"
import { Effect, Result, Runtime, Schema } from "effect"
import { readdirSync, readFileSync } from "node:fs"
import { join } from "node:path"
import * as Checkpoint from "../../src/source/Checkpoint.ts"
import { ValueInvalid } from "../../src/source/ModelReason.ts"
import { configError, SourceError } from "../../src/source/SourceError.ts"

const root = join(import.meta.dirname, "../fixtures/negative")

const Expected = Schema.Struct({
  verdict: Schema.Literals(["accept", "reject"]),
  mentions: Schema.optionalKey(Schema.Array(Schema.Array(Schema.String)))
})

const expectedOf = (name: string) =>
  Schema.decodeSync(Schema.fromJsonString(Expected))(readFileSync(join(root, name, "expected.json"), "utf8"))

/** The text must hold one of each group; the path above the file is no help, because it holds the case's name. */
const checkMentions = (name: string, error: SourceError) => {
  const text = error.message.replaceAll(join(root, name), "").toLowerCase()
  for (const group of expectedOf(name).mentions ?? []) {
    assert.isTrue(
      group.some((mention) => text.includes(mention.toLowerCase())),
      `${text}\nhas none of ${group.join(" | ")}`
    )
  }
}

/** Sound for the source layer: wrong only against the model family or in a tensor's values. */
const later = new Set([
  "control",
  "config-heads-not-divisible",
  "config-negative-layers",
  "config-unknown-rope",
  "config-more-layers",
  "missing-tensor",
  "nan-weight",
  "transposed-shape",
  "unknown-architecture",
  "wrong-shape"
])
const cases = readdirSync(root)

layer(NodeServices.layer)("open", (it) => {
  it.effect.each(cases.filter((name) => !later.has(name)))("refuses %s", (name) =>
    Effect.gen(function*() {
      const error = yield* Effect.flip(Checkpoint.open(join(root, name)))
      assert.instanceOf(error, SourceError)
      checkMentions(name, error)
      const code = ["config-unknown-quantization", "dtype-unknown"].includes(name) ? 4 : 3
      assert.strictEqual(error[Runtime.errorExitCode], code)
    }))

  it.effect.each([...later])("takes %s, which is for others to judge", (name) => Checkpoint.open(join(root, name)))
})

/** The tensors of a third layer, as layer 1 has them. */
const third = (expected: ReadonlyArray<Checkpoint.ExpectedTensor>) =>
  expected.filter(({ name }) => name.includes(".layers.1.")).map(({ name, shape }) => ({
    name: name.replace(".layers.1.", ".layers.2."),
    shape
  }))

layer(NodeServices.layer)("expect", (it) => {
  const control = Effect.map(
    Checkpoint.open(join(root, "control")),
    (checkpoint) => Array.from(checkpoint.tensors.values(), ({ name, shape }) => ({ name, shape }))
  )

  it.effect("finds every tensor of the control, and nothing unused", () =>
    Effect.gen(function*() {
      const expected = yield* control
      const checkpoint = yield* Checkpoint.open(join(root, "control"))
      const found = yield* Effect.fromResult(Checkpoint.expect(checkpoint, expected, ["bf16"]))
      assert.deepStrictEqual(found.unused, [])
      assert.strictEqual(found.weights("model.norm.weight"), checkpoint.tensors.get("model.norm.weight"))
      assert.throws(() => found.weights("model.layers.7.mlp.up_proj.weight"))
    }))

  it.effect.each(["missing-tensor", "wrong-shape", "transposed-shape"])("refuses %s", (name) =>
    Effect.gen(function*() {
      const checkpoint = yield* Checkpoint.open(join(root, name))
      const error = yield* Effect.flip(Effect.fromResult(Checkpoint.expect(checkpoint, yield* control, ["bf16"])))
      checkMentions(name, error)
      assert.include(error.message, "model.safetensors")
      assert.strictEqual(error[Runtime.errorExitCode], 3)
    }))

  it.effect("says how many layers config.json asks for and the files hold", () =>
    Effect.gen(function*() {
      const checkpoint = yield* Checkpoint.open(join(root, "config-more-layers"))
      const expected = yield* control
      const all = [...expected, ...third(expected)]
      const error = yield* Effect.flip(Effect.fromResult(Checkpoint.expect(checkpoint, all, ["bf16"])))
      checkMentions("config-more-layers", error)
      assert.include(error.message, "9 tensors are missing")
      assert.include(error.message, "config.json asks for 3 layers, the files hold 2")
    }))

  it.effect("reports missing and misshapen tensors at once", () =>
    Effect.gen(function*() {
      const checkpoint = yield* Checkpoint.open(join(root, "control"))
      const expected = [{ name: "model.norm.weight", shape: [17] }, {
        name: "model.layers.0.self_attn.q_norm.weight",
        shape: [8]
      }]
      const error = yield* Effect.flip(Effect.fromResult(Checkpoint.expect(checkpoint, expected, ["bf16"])))
      assert.include(error.message, "model.norm.weight: expected [17], found [16]")
      assert.include(error.message, "1 tensor is missing: model.layers.0.self_attn.q_norm.weight [8]")
    }))

  it.effect("tells tensors that have another prefix, wrong dtypes, and what is unused", () =>
    Effect.gen(function*() {
      const checkpoint = yield* Checkpoint.open(join(root, "control"))
      const prefixed = [{ name: "norm.weight", shape: [16] }]
      const error = yield* Effect.flip(Effect.fromResult(Checkpoint.expect(checkpoint, prefixed, ["bf16"])))
      assert.include(error.message, "the files hold model.norm.weight instead of norm.weight")
      const dtype = yield* Effect.flip(Effect.fromResult(Checkpoint.expect(checkpoint, yield* control, ["f16", "f32"])))
      assert.include(dtype.message, "model.embed_tokens.weight is bf16")
      assert.strictEqual(dtype[Runtime.errorExitCode], 4)
      const part = (yield* control).filter(({ name }) => !name.startsWith("model.layers.1."))
      assert.strictEqual(Result.getOrThrow(Checkpoint.expect(checkpoint, part, ["bf16"])).unused.length, 9)
    }))
})

describe("configError", () => {
  it("lists what is wrong, and nothing that is only unsupported beside it", () => {
    const layers = { path: "num_hidden_layers", expected: "a whole number above 0", found: "-2", unsupported: false }
    const rope = {
      path: "rope_scaling.rope_type",
      expected: "one of default, linear",
      found: "spiral",
      unsupported: true
    }
    const wrong = configError("config.json", [layers, rope])
    checkMentions("config-negative-layers", wrong)
    assert.notInclude(wrong.message, "spiral")
    assert.include(wrong.message, "download config.json again")
    assert.strictEqual(wrong[Runtime.errorExitCode], 3)
    const unsupported = configError("config.json", [rope])
    checkMentions("config-unknown-rope", unsupported)
    assert.strictEqual(unsupported[Runtime.errorExitCode], 4)
    assert.include(unsupported.message, "choose a checkpoint that has no such setting")
  })
})

describe("ValueInvalid", () => {
  it("names the tensor, the place and the value", () => {
    const reason = new ValueInvalid({
      tensor: "model.layers.1.mlp.gate_proj.weight",
      index: [3, 5],
      expected: "finite values",
      found: "NaN"
    })
    checkMentions("nan-weight", new SourceError({ path: "model.safetensors", reason }))
  })
})
