import { assert, describe, layer } from "@effect/vitest"
import { Effect } from "effect"
import { readdirSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { json, npy } from "../arch/Case.ts"
import { answer, compile, fixture, folder, opened, plan, Platform } from "./Build.ts"

interface Expected {
  readonly prompt: ReadonlyArray<number>
  readonly greedy: ReadonlyArray<number>
  readonly tolerance: { readonly logits_abs: number }
}

const names = readdirSync(fixture("compressed"), { withFileTypes: true })
  .flatMap((entry) => entry.isDirectory() && entry.name !== "negative" ? [entry.name] : [])

/** Formats whose numbers are rounded once to bf16 here, as the libraries do; of the others every number arrives as it is. */
const isConverted = (name: string): boolean => name.includes("fp8") || name.includes("nvfp4")

describe.each(names)("%s", (name) => {
  const path = fixture(`compressed/${name}`)
  layer(Platform, { excludeTestServices: true })((it) => {
    it.effect("gives the logits and tokens of its decompressed weights", () =>
      Effect.gen(function*() {
        const expected: Expected = json(join(path, "expected.json"))
        const out = yield* folder
        const { steps, warnings } = yield* compile({
          modelPath: path,
          output: out,
          maxNumTokens: 64,
          languageGroupSize: 12,
          verify: "none"
        })
        assert.deepStrictEqual([...new Set(steps.map(({ stage }) => stage))], ["DEVKIT", "SOURCE_TO_QUANT", "COMPILE"])
        assert.strictEqual(warnings.some((warning) => warning.includes("rounded to bfloat16")), isConverted(name))
        const runner = yield* opened(out)
        const { ids, rows } = yield* answer(runner, {
          ids: expected.prompt,
          maxNewTokens: expected.greedy.length,
          ignoreEos: true,
          logits: true
        })
        const logits = npy(join(path, isConverted(name) ? "logits.npy" : "logits_f32.npy")).data
        const found = rows.flatMap((row) => [...row])
        assert.strictEqual(found.length, logits.length)
        const worst = found.reduce((most, value, i) => Math.max(most, Math.abs(value - (logits[i] ?? NaN))), 0)
        assert.isAtMost(worst, expected.tolerance.logits_abs)
        assert.deepStrictEqual(ids, [...expected.greedy])
      }))
  })
})

/** A configuration file that asks for one precision everywhere. */
const asking = (precision: string) =>
  Effect.map(folder, (path) => {
    const file = join(path, "config.py")
    writeFileSync(
      file,
      `def get_layer_configuration(model_properties, layer):\n    return {"precision": "${precision}"}\n`
    )
    return file
  })

/** What a plan says of this source's numbers, with this precision asked for. */
const warningsOf = (modelPath: string, precision: string | undefined) =>
  Effect.gen(function*() {
    const asked = precision === undefined ? {} : { configurationFile: yield* asking(precision) }
    const { warnings } = yield* plan({ modelPath, output: yield* folder, maxNumTokens: 64, ...asked })
    return warnings.filter((warning) => /codes|rounded|requantised/.test(warning))
  })

describe("a configuration file", () => {
  layer(Platform, { excludeTestServices: true })((it) => {
    it.effect("that asks for fewer bits than the source has gets them, and is told", () =>
      Effect.gen(function*() {
        const out = yield* folder
        const configurationFile = yield* asking("A_BF16_W_INT4")
        const { intake, precisions } = yield* compile({
          modelPath: fixture("compressed/llama-w8a16-channel"),
          configurationFile,
          output: out,
          maxNumTokens: 64,
          verify: "none"
        })
        const requantised = intake.filter(({ kind }) => kind === "requantised")
        assert.strictEqual(requantised.length, 14)
        for (const { error } of requantised) {
          // 4 bits of random numbers: a rounding error of some 7 to 12 %
          assert.isAbove(error ?? 0, 0.05)
          assert.isBelow(error ?? 1, 0.2)
        }
        assert.deepInclude(precisions.map(({ precision }) => precision), "A_BF16_W_INT4")
        const runner = yield* opened(out)
        const { ids } = yield* answer(runner, { ids: [5, 6, 7], maxNewTokens: 4, ignoreEos: true })
        assert.strictEqual(ids.length, 4)
      }))

    it.effect.each<readonly [path: string, precision: string | undefined, warnings: ReadonlyArray<string>]>([
      ["gguf/llama-Q4_1.gguf", undefined, []],
      ["gguf/llama-Q4_1.gguf", "A_BF16_W_INT4", []],
      ["gguf/llama-Q8_0.gguf", "A_BF16_W_INT8", []],
      ["gguf/llama-Q4_1.gguf", "A_BF16_W_INT8", [
        "15 weights keep the source's own codes (int4 with minima): asked for A_BF16_W_INT8, more bits would not bring anything back"
      ]],
      ["gguf/llama-Q4_1.gguf", "BF16", [
        "15 weights keep the source's own codes (int4 with minima): asked for BF16, more bits would not bring anything back"
      ]],
      ["gguf/llama-Q8_0.gguf", "BF16", [
        "15 weights keep the source's own codes (int8): asked for BF16, more bits would not bring anything back"
      ]],
      ["gguf/llama-F16.gguf", "A_BF16_W_INT8", []],
      ["compressed/llama-fp8-dynamic", "BF16", [
        "14 weights are stored as fp8, which no integer codes hold: they are rounded to bfloat16"
      ]],
      ["compressed/llama-fp8-dynamic", "A_BF16_W_INT8", [
        "14 weights are stored as fp8, which no integer codes hold: they are rounded to int8, as the configuration file asks"
      ]],
      ["compressed/llama-nvfp4a16", "A_BF16_W_INT4", [
        "14 weights are stored as nvfp4, which no integer codes hold: they are rounded to int4, as the configuration file asks"
      ]]
    ])("is told what becomes of its wish: %s, %s", ([path, precision, warnings]) =>
      Effect.gen(function*() {
        const found = yield* warningsOf(fixture(path), precision)
        assert.deepStrictEqual(found.filter((one) => !one.startsWith("the output head")), warnings)
      }))

    it.effect("that asks for codes of floats of 8 bits gets them, reported as converted with their error", () =>
      Effect.gen(function*() {
        const configurationFile = yield* asking("A_BF16_W_INT8")
        const { intake } = yield* compile({
          modelPath: fixture("compressed/llama-fp8-dynamic"),
          configurationFile,
          output: yield* folder,
          maxNumTokens: 64,
          verify: "none"
        })
        assert.strictEqual(intake.length, 14)
        for (const { error, format, kind } of intake) {
          assert.deepStrictEqual([format, kind], ["fp8", "converted"])
          assert.isAbove(error ?? 0, 0)
          assert.isBelow(error ?? 1, 0.02)
        }
      }))
  })
})
