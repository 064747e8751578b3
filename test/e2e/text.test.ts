import { assert, describe, layer } from "@effect/vitest"
import { Context, Effect, Layer } from "effect"
import { spawnSync } from "node:child_process"
import { cpSync, readdirSync, readFileSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { check } from "../../src/onnx/Check.ts"
import { decode } from "../../src/onnx/OnnxFile.ts"
import type { Runner } from "../../src/run/Runner.ts"
import { caseNames, json, readCase } from "../arch/Case.ts"
import { answer, compile, filesOf, folder, model, opened, Platform } from "./Build.ts"

/** A build that a describe shares. */
class Built extends Context.Service<Built, { readonly out: string; readonly runner: Runner }>()("test/e2e/Built") {}

/** Builds a case with a context of 96 tokens and groups of 16, so that the long prompt takes three, and opens it. */
const built = (name: string, config?: string) =>
  Layer.effect(
    Built,
    Effect.gen(function*() {
      const root = yield* folder
      const configurationFile = config === undefined ? undefined : join(root, "config.py")
      if (configurationFile !== undefined) writeFileSync(configurationFile, config ?? "")
      const out = join(root, "out")
      yield* compile({
        modelPath: model(name),
        output: out,
        configurationFile,
        maxNumTokens: 96,
        languageGroupSize: 16
      })
      return { out, runner: yield* opened(out) }
    })
  ).pipe(Layer.provideMerge(Platform))

/** Distance of the numbers in `found`, row after row, from those expected: the largest, and the root of the mean square. */
const distance = (found: ReadonlyArray<Float32Array>, expected: Float32Array) => {
  const all = found.flatMap((rows) => Array.from(rows))
  assert.strictEqual(all.length, expected.length)
  const differences = all.map((value, i) => Math.abs(value - (expected[i] ?? NaN)))
  return {
    largest: Math.max(...differences),
    mean: Math.sqrt(differences.reduce((sum, value) => sum + value * value, 0) / differences.length)
  }
}

const prompts = ["short", "long"] as const

describe.each(caseNames.map((name) => ({ name })))("$name, compiled as it is", ({ name }) => {
  const example = readCase(name)
  const { chat }: { chat?: { messages: Parameters<Runner["chat"]>[0]; ids: ReadonlyArray<number> } } = json(
    join(example.path, "expected/expected.json")
  )
  layer(built(name), { excludeTestServices: true })((it) => {
    it.effect.each(prompts)(
      "gives transformers' logits and greedy ids for the %s prompt",
      (prompt) =>
        Effect.gen(function*() {
          const { runner } = yield* Built
          const { ids, new_ids } = example.prompts[prompt]
          const { ids: found, rows } = yield* answer(runner, {
            ids,
            maxNewTokens: new_ids.length,
            ignoreEos: true,
            logits: true
          })
          assert.isAtMost(distance(rows, example.array(`logits_${prompt}`).data).largest, example.tolerance)
          assert.deepStrictEqual(found, [...new_ids])
        })
    )

    it.effect.each(prompts)("makes the tokenizer's ids of the %s prompt", (prompt) =>
      Effect.gen(function*() {
        const { runner } = yield* Built
        const { prompts }: { prompts: Record<string, { text: string; ids: ReadonlyArray<number> }> } = json(
          join(example.path, "expected/expected.json")
        )
        assert.deepStrictEqual(yield* runner.encode(prompts[prompt]?.text ?? ""), prompts[prompt]?.ids)
      }))

    it.effect.skipIf(chat === undefined)(
      "makes the template's ids of a conversation (where the case has a template)",
      () =>
        Effect.gen(function*() {
          const { runner } = yield* Built
          assert.deepStrictEqual(yield* runner.chat(chat?.messages ?? []), chat?.ids)
        })
    )
  })
})

const always = (precision: string) =>
  `def get_layer_configuration(model, layer):
    return {"precision": "${precision}"}
`
const mixed = `def get_layer_configuration(model, layer):
    return {"precision": "A_BF16_W_INT8" if layer["is_group"] else "A_BF16_W_INT4"}
`

/**
 * `most`, `least`: root mean square of the logits' error, of logits with a deviation near 5: measured 0.12 and 1.8, with room of a
 * third; `u4`: the programs whose layers have codes of four bits.
 */
const quantized = [
  { title: "8 bits", config: always("A_BF16_W_INT8"), most: 0.16, least: 0.01, schemes: ["w8"], u4: /^$/ },
  { title: "4 bits", config: always("A_BF16_W_INT4"), most: 2.4, least: 0.3, schemes: ["w4"], u4: /./ },
  {
    title: "8 bits for prompts and 4 for answers",
    config: mixed,
    most: 0.16,
    least: 0.01,
    schemes: ["w4", "w8"],
    u4: /^single/
  }
]

const python = process.env["LLIMA_TEST_PYTHON"] ?? "python3"
const hasPython = spawnSync(python, ["-c", "import onnx, onnxruntime"], { stdio: "ignore" }).status === 0
const script = join(import.meta.dirname, "../../scripts/check_onnx.py")

describe.each(quantized)("qwen3 in $title", ({ config, least, most, schemes, u4 }) => {
  const example = readCase("qwen3")
  layer(built("qwen3", config), { excludeTestServices: true })((it) => {
    it.effect.each(prompts)(
      "answers the %s prompt with logits near the float model's",
      (prompt) =>
        Effect.gen(function*() {
          const { runner } = yield* Built
          const { ids } = example.prompts[prompt]
          const { ids: found, rows, stop } = yield* answer(runner, {
            ids,
            maxNewTokens: 12,
            ignoreEos: true,
            logits: true
          })
          const { mean } = distance(rows, example.array(`logits_${prompt}`).data)
          assert.isAtMost(mean, most)
          assert.isAtLeast(mean, least)
          assert.strictEqual(found.length, 12)
          assert.strictEqual(stop, "length")
        })
    )

    it.effect("has one blob for each part and scheme, and graphs that hold what must hold of graphs", () =>
      Effect.gen(function*() {
        const { out } = yield* Built
        const at = join(out, "sima_files/quantized")
        const graphs = readdirSync(at).filter((name) => name.endsWith(".onnx"))
        assert.strictEqual(graphs.length, 3 * 6)
        for (const name of graphs) {
          const graph = yield* Effect.fromResult(decode(readFileSync(join(at, name))))
          assert.deepStrictEqual(check(graph), [], name)
          const coded = graph.nodes.some(({ op }) => op === "DequantizeLinear")
          assert.strictEqual(coded, !name.includes("cache"), name)
          const four = graph.initializers.some(({ dtype }) => dtype === "u4")
          assert.strictEqual(four, coded && u4.test(name), name)
        }
        const blobs = filesOf(join(at, "weights")).filter((name) => name.endsWith(".bin"))
        assert.deepStrictEqual(
          blobs.map((name) => name.split(".").slice(0, 2).join(".")).sort(),
          ["post", "pre"].flatMap((part) => [0, 1, 2].flatMap((i) => schemes.map((scheme) => `${part}_${i}.${scheme}`)))
        )
      }))

    it.effect.skipIf(!hasPython)(
      "has graphs that onnx's checker and onnxruntime take (with a Python that has both)",
      () =>
        Effect.gen(function*() {
          const { out } = yield* Built
          for (const at of ["onnx_files", "sima_files/quantized"]) {
            // onnx 1.23 takes a file with more than one hard link for an attack; it gets a copy of its own.
            const copy = yield* folder
            cpSync(join(out, at), copy, { recursive: true })
            const names = readdirSync(copy).filter((name) => name.endsWith(".onnx"))
            assert.isAbove(names.length, 0)
            const { status, stderr, stdout } = spawnSync(python, [script, ...names], { cwd: copy, encoding: "utf8" })
            assert.strictEqual(status, 0, stdout + stderr)
          }
        })
    )
  })
})

describe("the precisions of a case", () => {
  layer(Platform, { excludeTestServices: true })((it) => {
    it.effect("take fewer bytes with fewer bits", () =>
      Effect.gen(function*() {
        const sizes: Array<number> = []
        for (const precision of ["BF16", "A_BF16_W_INT8", "A_BF16_W_INT4"]) {
          const root = yield* folder
          writeFileSync(join(root, "config.py"), always(precision))
          const report = yield* compile({
            modelPath: model("qwen3"),
            output: join(root, "out"),
            configurationFile: join(root, "config.py")
          })
          // the head keeps 8 bits
          const told = precision === "A_BF16_W_INT4" ? ["A_BF16_W_INT8", precision] : [precision]
          assert.deepStrictEqual(report.precisions.map((one) => one.precision), told)
          sizes.push(report.precisions.reduce((total, { after }) => total + after, 0))
        }
        const [bf16 = 0, int8 = 0, int4 = 0] = sizes
        assert.isBelow(int8, bf16 * 0.6)
        assert.isBelow(int4, int8 * 0.8)
      }).pipe(Effect.scoped))
  })
})
