import { NodeServices } from "@effect/platform-node"
import { assert, describe, it, layer } from "@effect/vitest"
import { Effect, FileSystem, Layer, Result, Schema } from "effect"
import { spawnSync } from "node:child_process"
import { readdirSync, readFileSync } from "node:fs"
import { join } from "node:path"
import { find } from "../../src/arch/registry.ts"
import { Mpk } from "../../src/pack/Mpk.ts"
import { decode } from "../../src/tensor/Npy.ts"
import { build } from "./Build.ts"

const fixtures = join(import.meta.dirname, "../fixtures/text")
const cases = readdirSync(fixtures).filter((name) =>
  find(String(JSON.parse(readFileSync(join(fixtures, name, "config.json"), "utf8")).model_type)) !== undefined
)
const canRun = spawnSync("python3", ["-c", "import numpy, onnxruntime"]).status === 0

const Expected = Schema.fromJsonString(Schema.Struct({
  tolerance: Schema.Finite,
  prompts: Schema.Struct({ long: Schema.Struct({ ids: Schema.Array(Schema.Int), new_ids: Schema.Array(Schema.Int) }) })
}))

const numbers = (bytes: Uint8Array): Float32Array => {
  const { dataBytes, dataOffset } = Result.getOrThrow(decode(bytes))
  return new Float32Array(bytes.slice(dataOffset, dataOffset + dataBytes).buffer)
}

describe("pythonFiles", () => {
  it("are the files of src/devkit/python", () => {
    const script = join(import.meta.dirname, "../../scripts/embed-devkit.mjs")
    const { status, stderr } = spawnSync(process.execPath, [script, "--check"], { encoding: "utf8" })
    assert.strictEqual(stderr, "")
    assert.strictEqual(status, 0)
  })
})

layer(Mpk.layer.pipe(Layer.provideMerge(NodeServices.layer)), { excludeTestServices: true })("llima_runtime", (it) => {
  // 40 tokens in groups of 16 leave a last group of 8; windows of 16 bite.
  describe.each(cases)("%s", (name) => {
    it.effect.skipIf(!canRun)(
      "gives transformers' logits and greedy tokens (skipped where python3 lacks numpy or onnxruntime)",
      () =>
        Effect.gen(function*() {
          const fs = yield* FileSystem.FileSystem
          const output = yield* fs.makeTempDirectoryScoped()
          const { devkit } = yield* build(join(fixtures, name), output, 16)
          const expected = join(fixtures, name, "expected")
          const text = yield* fs.readFileString(join(expected, "expected.json"))
          const { prompts: { long }, tolerance } = yield* Schema.decodeEffect(Expected)(text)
          yield* fs.writeFileString(`${output}/ids.json`, JSON.stringify(long.ids))
          const run = (...more: ReadonlyArray<string>) => {
            const options = ["-m", "llima_runtime", output, "--prompt_ids", `${output}/ids.json`, ...more]
            const env = { ...process.env, LLIMA_CACHE: `${output}/cache`, PYTHONDONTWRITEBYTECODE: "1" }
            const { stderr, stdout } = spawnSync("python3", options, { cwd: devkit, encoding: "utf8", env })
            assert.strictEqual(stderr, "")
            return stdout
          }
          assert.deepStrictEqual(JSON.parse(run("--max_new_tokens", "24", "--ignore_eos")), long.new_ids)

          run("--logits", `${output}/logits.npy`)
          const found = numbers(yield* fs.readFile(`${output}/logits.npy`))
          const wanted = numbers(yield* fs.readFile(join(expected, "logits_long.npy")))
          assert.strictEqual(found.length, wanted.length)
          const error = found.reduce((most, value, i) => Math.max(most, Math.abs(value - (wanted[i] ?? Infinity))), 0)
          assert.isBelow(error, tolerance)
        })
    )
  })
})
