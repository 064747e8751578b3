import { NodeServices } from "@effect/platform-node"
import { assert, describe, it, layer } from "@effect/vitest"
import { Effect, FileSystem, Layer, Result, Schema } from "effect"
import { spawnSync } from "node:child_process"
import { readdirSync, readFileSync } from "node:fs"
import { join } from "node:path"
import { find } from "../../src/arch/registry.ts"
import { Mpk } from "../../src/pack/Mpk.ts"
import { decode } from "../../src/tensor/Npy.ts"
import { greedyIds } from "../arch/Greedy.ts"
import { build } from "./Build.ts"

const fixtures = join(import.meta.dirname, "../fixtures/text")
const cases = readdirSync(fixtures).filter((name) =>
  find(String(JSON.parse(readFileSync(join(fixtures, name, "config.json"), "utf8")).model_type)) !== undefined
)
const python = process.env["LLIMA_TEST_PYTHON"] ?? "python3"
const canRun = spawnSync(python, ["-c", "import numpy, onnxruntime"]).status === 0

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

/** What `python -m llima_runtime` prints for a build with these options; it must not complain. */
const runtime = (devkit: string, output: string, ...more: ReadonlyArray<string>): string => {
  const options = ["-m", "llima_runtime", output, "--prompt_ids", `${output}/ids.json`, ...more]
  const env = { ...process.env, LLIMA_CACHE: `${output}/cache`, PYTHONDONTWRITEBYTECODE: "1" }
  const { stderr, stdout } = spawnSync(python, options, { cwd: devkit, encoding: "utf8", env })
  assert.strictEqual(stderr, "")
  return stdout
}

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
          const answer = runtime(devkit, output, "--max_new_tokens", "24", "--ignore_eos")
          assert.deepStrictEqual(JSON.parse(answer), long.new_ids)

          runtime(devkit, output, "--logits", `${output}/logits.npy`)
          const found = numbers(yield* fs.readFile(`${output}/logits.npy`))
          const wanted = numbers(yield* fs.readFile(join(expected, "logits_long.npy")))
          assert.strictEqual(found.length, wanted.length)
          const error = found.reduce((most, value, i) => Math.max(most, Math.abs(value - (wanted[i] ?? Infinity))), 0)
          assert.isBelow(error, tolerance)
        })
    )
  })

  it.effect.skipIf(!canRun)(
    "turns all positions of a longrope run otherwise once it is past the border (skipped where python3 lacks numpy or onnxruntime)",
    () =>
      Effect.gen(function*() {
        const fs = yield* FileSystem.FileSystem
        const output = yield* fs.makeTempDirectoryScoped()
        const { devkit } = yield* build(join(fixtures, "phi3-longrope"), output, 16)
        const text = yield* fs.readFileString(join(fixtures, "phi3-longrope/expected/expected.json"))
        const { prompts: { long } } = yield* Schema.decodeEffect(Expected)(text)
        const ids = long.ids.slice(0, 26)
        yield* fs.writeFileString(`${output}/ids.json`, JSON.stringify(ids))
        const expected = yield* Effect.promise(() => greedyIds("phi3-longrope", ids, 20))
        const answer = runtime(devkit, output, "--max_new_tokens", "20", "--ignore_eos")
        assert.deepStrictEqual(JSON.parse(answer), expected)
      })
  )
})
