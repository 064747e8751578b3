import { assert, describe, layer } from "@effect/vitest"
import { Effect } from "effect"
import { cpSync, openSync, readFileSync, writeFileSync, writeSync } from "node:fs"
import { join } from "node:path"
import { architectures } from "../../src/arch/registry.ts"
import { decode } from "../../src/onnx/OnnxFile.ts"
import { open as openCheckpoint } from "../../src/source/Checkpoint.ts"
import { readCase } from "../arch/Case.ts"
import { answer, compile, folder, model, opened, Platform, told } from "./Build.ts"

const cases = ["olmoe", "qwen3-moe", "gpt-oss"]

const precision = (bits: number) =>
  `def get_layer_configuration(model, layer):
    return {"precision": "A_BF16_W_INT${bits}"}
`

/** Root mean square of the error of logits with a deviation near 5: measured 0.31 and 2.6 at most, with room of a third. */
const most = { 8: 0.42, 4: 3.5 } as const

/** Problems of a case's config with other values in it. */
const read = (family: string, more: Readonly<Record<string, unknown>>) => {
  const config = readCase(family).config
  const found = architectures.find(({ name }) => name === config.model_type)
  const result = found?.read({ ...config, ...more })
  return result?._tag === "Failure" ? result.failure.map(({ path, unsupported }) => ({ path, unsupported })) : []
}

layer(Platform, { excludeTestServices: true })("experts", (it) => {
  describe.each(cases)("%s", (name) => {
    const example = readCase(name)
    it.effect.each([8, 4] as const)(
      "in %i bits: each matrix of an expert is codes, the router is not, logits stay near",
      (bits) =>
        Effect.gen(function*() {
          const root = yield* folder
          const configurationFile = join(root, "config.py")
          writeFileSync(configurationFile, precision(bits))
          const out = join(root, "out")
          yield* compile({
            modelPath: model(name),
            output: out,
            configurationFile,
            maxNumTokens: 96,
            languageGroupSize: 16,
            verify: "quick"
          })
          const bytes = readFileSync(join(out, "sima_files/quantized/single_post_0.onnx"))
          const { initializers } = yield* Effect.fromResult(decode(bytes))
          const names = initializers.map((one) => one.name)
          const count = Number(example.config["num_experts"] ?? example.config["num_local_experts"])
          const matrices = names.filter((one) => /experts.*\.codes$/.test(one))
          assert.strictEqual(matrices.length, count * (name === "gpt-oss" ? 2 : 3))
          assert.isTrue(
            initializers.filter((one) => matrices.includes(one.name)).every(({ dtype }) => dtype === `u${bits}`)
          )
          assert.strictEqual(names.filter((one) => /mlp\.(gate|router)\.weight$/.test(one)).length, 1)
          const { ids } = example.prompts.long
          const { ids: found, rows } = yield* answer(yield* opened(out), {
            ids,
            maxNewTokens: 8,
            ignoreEos: true,
            logits: true
          })
          assert.strictEqual(found.length, 8)
          const expected = example.array("logits_long").data
          const errors = rows.flatMap((row) => Array.from(row)).map((value, i) => value - (expected[i] ?? NaN))
          assert.strictEqual(errors.length, expected.length)
          const mean = Math.sqrt(errors.reduce((sum, error) => sum + error * error, 0) / errors.length)
          assert.isAtMost(mean, most[bits])
        })
    )
  })

  it.effect.each([undefined, 4] as const)(
    "names the expert that holds a NaN, and where (bits: %s)",
    (bits) =>
      Effect.gen(function*() {
        const root = yield* folder
        const path = join(root, "model")
        cpSync(model("gpt-oss"), path, { recursive: true })
        const { tensors } = yield* openCheckpoint(path)
        const { range, shape } = tensors.get("model.layers.1.mlp.experts.down_proj") ?? assert.fail("no tensor")
        const [, height = 0, width = 0] = shape
        const file = openSync(range.file, "r+")
        writeSync(file, Uint8Array.of(0xc0, 0x7f), 0, 2, range.offset + 2 * ((3 * height + 5) * width + 7))
        const configurationFile = join(root, "config.py")
        if (bits !== undefined) writeFileSync(configurationFile, precision(bits))
        const error = yield* Effect.flip(compile({
          modelPath: path,
          output: join(root, "out"),
          configurationFile: bits === undefined ? undefined : configurationFile
        }))
        const { code, message } = told(error)
        assert.strictEqual(code, 3)
        assert.include(message, "model.layers.1.mlp.experts.down_proj.3")
        assert.include(message, "[5, 7]")
      })
  )

  it.effect("names a stacked tensor that has another shape", () =>
    Effect.gen(function*() {
      const root = yield* folder
      const path = join(root, "model")
      cpSync(model("gpt-oss"), path, { recursive: true })
      const config = join(path, "config.json")
      writeFileSync(config, readFileSync(config, "utf8").replace(`"num_local_experts": 4`, `"num_local_experts": 5`))
      const { code, message } = told(yield* Effect.flip(compile({ modelPath: path, output: join(root, "out") })))
      assert.strictEqual(code, 3)
      assert.include(message, "experts.gate_up_proj: expected [5, 48, 64], found [4, 48, 64]")
    }))

  it.effect("counts experts that a token does not go to as wrong, and clipping as not supported", () =>
    Effect.sync(() => {
      assert.deepStrictEqual(read("olmoe", { num_experts_per_tok: 9 }), [
        { path: "num_experts_per_tok", unsupported: false }
      ])
      assert.deepStrictEqual(read("gpt-oss", { num_local_experts: 1e9 }), [
        { path: "num_local_experts", unsupported: false }
      ])
      assert.deepStrictEqual(read("olmoe", { clip_qkv: 8 }), [{ path: "clip_qkv", unsupported: true }])
    }))
})
