import { assert, describe, layer } from "@effect/vitest"
import { Effect } from "effect"
import { spawnSync } from "node:child_process"
import { readdirSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { open } from "../../src/run/Runner.ts"
import { json, npy } from "../arch/Case.ts"
import { answer, compile, fixture, folder, opened, Platform } from "./Build.ts"

interface Expected {
  readonly prompt: ReadonlyArray<number>
  readonly greedy: ReadonlyArray<number>
  readonly tolerance: { readonly logits_abs: number }
  readonly tokenizer: {
    readonly samples: ReadonlyArray<{ readonly text: string; readonly ids: ReadonlyArray<number> }>
  }
}

const names = readdirSync(fixture("gguf")).flatMap((name) => name.endsWith(".gguf") ? [name.slice(0, -5)] : [])

describe.each(names)("%s.gguf", (name) => {
  layer(Platform, { excludeTestServices: true })((it) => {
    it.effect("gives the logits and tokens of its dequantised weights, and the reference's token ids", () =>
      Effect.gen(function*() {
        const expected: Expected = json(fixture(`gguf/${name}.expected.json`))
        const out = yield* folder
        const { steps } = yield* compile({
          modelPath: fixture(`gguf/${name}.gguf`),
          output: out,
          maxNumTokens: 64,
          languageGroupSize: 12,
          verify: "none"
        })
        assert.deepStrictEqual([...new Set(steps.map(({ stage }) => stage))], ["DEVKIT", "MODEL_SDK_DIRECT", "COMPILE"])
        const runner = yield* opened(out)
        const { ids, rows } = yield* answer(runner, {
          ids: expected.prompt,
          maxNewTokens: expected.greedy.length,
          ignoreEos: true,
          logits: true
        })
        const logits = npy(fixture(`gguf/${name}.logits.npy`)).data
        const found = rows.flatMap((row) => [...row])
        assert.strictEqual(found.length, logits.length)
        const worst = found.reduce((most, value, i) => Math.max(most, Math.abs(value - (logits[i] ?? NaN))), 0)
        assert.isAtMost(worst, expected.tolerance.logits_abs)
        assert.deepStrictEqual(ids, [...expected.greedy])
        for (const { ids, text } of expected.tokenizer.samples) {
          assert.deepStrictEqual(yield* runner.encode(text), ids, JSON.stringify(text))
        }
      }))
  })
})

describe("what is reported of each tensor", () => {
  layer(Platform, { excludeTestServices: true })((it) => {
    it.effect.each(
      [["llama-F16", 0], ["llama-F32", 0], ["gemma2-F16", 0], ["gemma2-Q8_0", 15], ["llama-Q4_1", 15]] as const
    )("of %s is about those that were quantised before: %i", ([name, count]) =>
      Effect.gen(function*() {
        const modelPath = fixture(`gguf/${name}.gguf`)
        const { intake } = yield* compile({ modelPath, output: yield* folder, maxNumTokens: 64, verify: "none" })
        assert.deepStrictEqual(intake.map(({ kind }) => kind), Array.from({ length: count }, () => "exact"))
      }))
  })
})

const python = process.env["LLIMA_TEST_PYTHON"] ?? "python3"
const canRun = spawnSync(python, ["-c", "import numpy, onnxruntime"], { stdio: "ignore" }).status === 0

describe.each(["llama-Q4_1", "llama-tied-Q4_K_M", "gemma3-Q4_0"])("the devkit's Python runtime, %s", (name) => {
  layer(Platform, { excludeTestServices: true })((it) => {
    it.effect.skipIf(!canRun)(
      "gives the runner's tokens, embeddings in codes (skipped where python3 lacks numpy or onnxruntime)",
      () =>
        Effect.gen(function*() {
          const { greedy, prompt }: Expected = json(fixture(`gguf/${name}.expected.json`))
          const out = yield* folder
          yield* compile({ modelPath: fixture(`gguf/${name}.gguf`), output: out, maxNumTokens: 64, verify: "none" })
          const cache = yield* folder
          const runner = yield* open(out, { threads: 1, cache })
          const { ids } = yield* answer(runner, { ids: prompt, maxNewTokens: greedy.length, ignoreEos: true })
          const file = join(cache, "ids.json")
          writeFileSync(file, JSON.stringify(prompt))
          const options = [
            "--prompt_ids",
            file,
            "--max_new_tokens",
            `${greedy.length}`,
            "--ignore_eos",
            "--threads",
            "1"
          ]
          const { stderr, stdout } = spawnSync(python, ["-m", "llima_runtime", out, ...options], {
            cwd: join(out, "sima_files/devkit"),
            encoding: "utf8",
            env: { ...process.env, LLIMA_CACHE: cache, PYTHONDONTWRITEBYTECODE: "1" }
          })
          assert.strictEqual(stderr, "")
          assert.deepStrictEqual(JSON.parse(stdout), ids)
        })
    )
  })
})
