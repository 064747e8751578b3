import { NodeServices } from "@effect/platform-node"
import { assert, describe, layer } from "@effect/vitest"
import { Context, Effect, Layer } from "effect"
import { existsSync, mkdirSync, readFileSync, statSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { build, plan as printPlan } from "../../src/cli/Build.ts"
import { compileCommand } from "../../src/cli/Compile.ts"
import { llimaCommand } from "../../src/cli/Llima.ts"
import { decode } from "../../src/onnx/OnnxFile.ts"
import { PROCESS_MEMORY } from "../../src/plan/Plan.ts"
import { ranges, type StageFlag } from "../../src/plan/Request.ts"
import type { BuildReport } from "../../src/stage/BuildReport.ts"
import { Progress, type ProgressEvent } from "../../src/stage/Progress.ts"
import { json, readCase } from "../arch/Case.ts"
import { invoke } from "../cli/invoke.ts"
import {
  answer,
  type Asked,
  assertSameBuild,
  compile,
  filesOf,
  folder,
  model,
  opened,
  plan,
  Platform,
  stepsOf,
  told
} from "./Build.ts"
import { writeCheckpoint } from "./Checkpoint.ts"

const name = "qwen2-tied"
const example = readCase(name)
const { ids, new_ids } = example.prompts.long

/** Compiles the case, or another checkpoint, with options, and gives the folder and the report. */
const made = Effect.fnUntraced(function*(asked: Partial<Asked> & { readonly config?: string } = {}) {
  const { config, ...options } = asked
  const root = yield* folder
  const configurationFile = join(root, "config.py")
  if (config !== undefined) writeFileSync(configurationFile, config)
  const output = join(root, "out")
  const report = yield* compile({
    modelPath: model(name),
    output,
    maxNumTokens: 96,
    languageGroupSize: 16,
    ...config === undefined ? {} : { configurationFile },
    ...options
  })
  return { root, output, report }
})

const run = (output: string, tokens = new_ids.length) =>
  Effect.flatMap(opened(output), (runner) => answer(runner, { ids, maxNewTokens: tokens, ignoreEos: true }))

const archived = (output: string): ReadonlyArray<string> =>
  filesOf(join(output, "sima_files/mpk")).map((file) => file.split(".")[0] ?? "")

const precisionOf = (output: string): string => readFileSync(join(output, "sima_files/devkit/precision.json"), "utf8")

const sizeOf = (output: string, file: string): number => statSync(join(output, file)).size

/** Outputs of the last layer's program. */
const lastOutputs = (output: string) => {
  const bytes = readFileSync(join(output, "sima_files/quantized/single_post_2.onnx"))
  return Effect.map(Effect.fromResult(decode(bytes)), ({ outputs }) => outputs.map((value) => value.name))
}

const sharingWarnings = ({ report }: { readonly report: BuildReport }): ReadonlyArray<string> =>
  report.warnings.filter((text) => text.includes("--enable_filter_sharing"))

const runtimeOf = (output: string) => json(join(output, "sima_files/devkit/runtime.json"))

/** A checkpoint of six layers, for configurations that tell early layers from later ones. */
class Six extends Context.Service<Six, { readonly modelPath: string }>()("test/e2e/Six") {}
const six = Layer.effect(
  Six,
  Effect.map(folder, (root) => ({
    modelPath: writeCheckpoint(join(root, "six"), { layers: 6, hidden: 32, intermediate: 64, seed: 3 })
  }))
).pipe(Layer.provideMerge(Platform))

describe("the worked examples", () => {
  layer(six, { excludeTestServices: true })((it) => {
    it.effect("(a) nothing said: 16 bits, 1024 tokens, a folder for the result", () =>
      Effect.gen(function*() {
        const output = join(yield* folder, "out")
        const { code, err, out } = yield* invoke(compileCommand(build), [model(name), "-o", output])
        assert.strictEqual(code, 0, err)
        assert.strictEqual(out, output)
        assert.strictEqual(runtimeOf(output).maxNumTokens, 1024)
        assert.include(precisionOf(output), "BF16")
        assert.notInclude(precisionOf(output), "INT")
        assert.deepStrictEqual((yield* run(output)).ids, [...new_ids])
      }).pipe(Effect.scoped))

    it.effect("(b) a longer context: kept in the devkit, and said where it is more than the model was made for", () =>
      Effect.gen(function*() {
        const { output, report } = yield* made({ maxNumTokens: 4096 })
        assert.strictEqual(runtimeOf(output).maxNumTokens, 4096)
        assert.strictEqual(report.warnings.filter((text) => text.includes("--max_num_tokens 4096")).length, 1)
        assert.deepStrictEqual((yield* run(output)).ids, [...new_ids])
      }).pipe(Effect.scoped))

    it.effect("(c) 8 bits for prompts, 4 for answers, as it is for pictures", () =>
      Effect.gen(function*() {
        const { output, report } = yield* made({
          config: `def get_layer_configuration(model_properties, layer):
    bits = "A_BF16_W_INT8" if layer["is_group"] else "A_BF16_W_INT4"
    return {"precision": "BF16" if layer["part"] == "VISION" else bits}
`
        })
        assert.deepStrictEqual(report.precisions.map(({ precision }) => precision), ["A_BF16_W_INT8", "A_BF16_W_INT4"])
        assert.strictEqual((yield* run(output)).ids.length, new_ids.length)
      }).pipe(Effect.scoped))

    const leavingOut = `def get_layer_configuration(model_properties, layer):
    index = layer["index"]
    if index > model_properties["num_hidden_layers"] - 3 and layer["part"] == "CACHE":
        return {"compile": False}
    return {"precision": "BF16" if index < 4 else "A_BF16_W_INT8"}
`

    it.effect("(d) caches of later layers left out: the rest is compiled, and running says what is missing", () =>
      Effect.gen(function*() {
        const { modelPath } = yield* Six
        const { output, report } = yield* made({ modelPath, config: leavingOut })
        assert.strictEqual(archived(output).length, 6)
        assert.deepStrictEqual(report.precisions.map(({ precision }) => precision), ["BF16", "A_BF16_W_INT8"])
        const files = filesOf(join(output, "sima_files/quantized"))
        assert.include(files, "group_cache_3.onnx")
        assert.notInclude(files, "group_cache_4.onnx")
        assert.notInclude(files, "single_cache_5.onnx")
        assert.include(files, "single_post_5.onnx")
        const blobs = files.filter((file) => file.endsWith(".bin"))
        assert.deepStrictEqual(
          blobs.map((file) => file.split("/").at(-1)?.split(".").slice(0, 2).join(".")),
          ["post_4.w8", "post_5.w8", "pre_4.w8", "pre_5.w8"]
        )
        const { code, message } = told(yield* Effect.flip(opened(output)))
        assert.strictEqual(code, 3)
        assert.include(message, "the build has no CACHE of layers 4-5, prefill and decode;")
        assert.include(message, "\"compile\": False")
      }).pipe(Effect.scoped))

    it.effect("a layer that is left out whole has no archive, and running says so", () =>
      Effect.gen(function*() {
        const { modelPath } = yield* Six
        const { output } = yield* made({
          modelPath,
          config: `def get_layer_configuration(model, layer):
    return {"compile": False} if layer["index"] == 2 else {"precision": "BF16"}
`
        })
        assert.deepStrictEqual(archived(output), [0, 1, 3, 4, 5].map((i) => `layer_${i}`))
        const { code, message } = told(yield* Effect.flip(opened(output)))
        assert.strictEqual(code, 3)
        assert.include(message, "the build has no PRE, CACHE and POST of layer 2, prefill and decode;")
        assert.include(message, "\"compile\": False")
      }).pipe(Effect.scoped))

    it.effect("(e) LoRA: the keys are read and the user is told; an adapter is refused", () =>
      Effect.gen(function*() {
        const { report } = yield* made({
          enableFilterSharing: true,
          config: `def get_layer_configuration(model_properties, layer):
    precision = "A_BF16_W_INT8" if layer["is_group"] else "A_BF16_W_INT4"
    return {"lora": "LORA_BRANCH", "compile": True, "precision": precision}
`
        })
        assert.strictEqual(report.warnings.filter((text) => text.includes("LoRA in layers 0-2")).length, 1)
        const alone = told(
          yield* Effect.flip(made({
            config: `def get_layer_configuration(model_properties, layer):
    return {"lora": "LORA_BRANCH", "precision": "BF16"}
`
          }))
        )
        assert.strictEqual(alone.code, 2)
        assert.include(alone.message, "LoRA in layers 0-2 (configuration file) needs --enable_filter_sharing")
        const root = yield* folder
        const args = ["--enable_filter_sharing", "--lora_name", "sql", "--lora_path", root, "-o", join(root, "out")]
        const { code, err } = yield* invoke(compileCommand(build), [model(name), ...args])
        assert.strictEqual(code, 4)
        assert.include(err, "--lora_name")
        assert.isFalse(existsSync(join(root, "out")))
      }).pipe(Effect.scoped))
  })
})

const order = ["devkit", "onnx", "quantize", "compile"] as const satisfies ReadonlyArray<StageFlag>

describe("llima plan --json", () => {
  layer(Platform, { excludeTestServices: true })((it) => {
    it.effect("is one object with what is left to do, and says what this machine cannot", () =>
      Effect.gen(function*() {
        const { output } = yield* made({ maxNumTokens: 1024, languageGroupSize: 128 })
        const llima = llimaCommand({
          plan: printPlan,
          run: () => Effect.void,
          inspect: () => Effect.void,
          verify: () => Effect.void,
          report: () => Effect.void
        })
        const ask = (...args: ReadonlyArray<string>) =>
          Effect.map(invoke(llima, ["plan", model(name), "-o", output, "--json", ...args]), ({ code, out }) => ({
            code,
            plan: JSON.parse(out)
          }))
        const kept = yield* ask("--resume", "--verify", "none")
        assert.deepInclude(kept, { code: 0 })
        assert.deepInclude(kept.plan, { steps: [], kept: 12, missing: [], problem: null })
        const partly = yield* ask("--resume", "--verify", "none", "--max_num_tokens", "64")
        assert.deepStrictEqual(partly.plan.steps.map(({ id }: { readonly id: string }) => id), ["devkit"])
        const small = yield* ask("--max_memory", "192MiB")
        assert.strictEqual(small.code, 7)
        assert.match(small.plan.problem, /^not enough memory/)
      }).pipe(Effect.scoped))
  })
})

describe("stages on their own", () => {
  layer(Platform, { excludeTestServices: true })((it) => {
    it.effect("one after the other make what one run makes, and it runs", () =>
      Effect.gen(function*() {
        const { output: whole } = yield* made()
        const output = join(yield* folder, "out")
        for (const stage of order) {
          const { report } = yield* made({ output, stages: [stage] })
          assert.deepStrictEqual([...new Set(report.steps.map((step) => step.stage))], [stage.toUpperCase()])
        }
        assertSameBuild(output, whole)
        assert.deepStrictEqual((yield* run(output)).ids, [...new_ids])
      }).pipe(Effect.scoped))

    it.effect.each(
      [
        { stage: "quantize", before: [], needs: "ONNX", flag: "--onnx" },
        { stage: "compile", before: [], needs: "QUANTIZE", flag: "--quantize" },
        { stage: "compile", before: ["onnx"], needs: "QUANTIZE", flag: "--quantize" }
      ] as const
    )(
      "$stage without its input (after: $before) says that $flag makes it",
      ({ before, flag, needs, stage }) =>
        Effect.gen(function*() {
          const output = join(yield* folder, "out")
          if (before.length > 0) yield* made({ output, stages: [...before] })
          const files = filesOf(output)
          const { code, message } = told(yield* Effect.flip(made({ output, stages: [stage] })))
          assert.strictEqual(code, 3)
          assert.include(message, needs)
          assert.include(message, flag)
          assert.deepStrictEqual(filesOf(output), files)
        }).pipe(Effect.scoped)
    )

    it.effect("an input made with other options is no input", () =>
      Effect.gen(function*() {
        const output = join(yield* folder, "out")
        yield* made({ output, stages: ["onnx", "quantize"] })
        const { code, message } = told(yield* Effect.flip(made({ output, stages: ["compile"], returnLogits: true })))
        assert.strictEqual(code, 3)
        assert.include(message, "quantize/layer_2")
      }).pipe(Effect.scoped))

    it.effect.each([{ stages: ["model_sdk"] }, { stages: ["model_sdk", "compile"] }] as const)(
      "the direct stage is refused for a Hugging Face folder ($stages)",
      ({ stages }) =>
        Effect.gen(function*() {
          const { code, message } = told(yield* Effect.flip(made({ stages: [...stages] })))
          assert.strictEqual(code, 4)
          assert.include(message, "--model_sdk")
        }).pipe(Effect.scoped)
    )
  })
})

describe("options", () => {
  layer(Platform, { excludeTestServices: true })((it) => {
    it.effect("--dry_run prints the plan and writes nothing", () =>
      Effect.gen(function*() {
        const output = join(yield* folder, "out")
        const { code, err, out } = yield* invoke(compileCommand(build), [model(name), "-o", output, "--dry_run"])
        assert.strictEqual(code, 0, err)
        for (const word of ["DEVKIT", "ONNX", "QUANTIZE", "COMPILE", "BF16"]) assert.include(out, word)
        assert.isFalse(existsSync(output))
      }).pipe(Effect.scoped))

    it.effect("a plan's outputs are the files that the build then has", () =>
      Effect.gen(function*() {
        const { output } = yield* made({
          config: "def get_layer_configuration(m, l):\n    return {\"precision\": \"A_BF16_W_INT4\"}\n"
        })
        const root = yield* folder
        writeFileSync(
          join(root, "c.py"),
          "def get_layer_configuration(m, l):\n    return {\"precision\": \"A_BF16_W_INT4\"}\n"
        )
        const { steps } = yield* plan({ modelPath: model(name), output, configurationFile: join(root, "c.py") })
        const planned = steps.flatMap(({ outputs }) => outputs).sort()
        const found = filesOf(output).filter((file) => /^(?:onnx_files|sima_files\/(?:quantized|mpk))\//.test(file))
        assert.deepStrictEqual(planned, found.sort())
      }).pipe(Effect.scoped))

    it.effect("--quantize_embeddings gives half the bytes and nearly the same logits", () =>
      Effect.gen(function*() {
        const { output: plain } = yield* made()
        const { output } = yield* made({ quantizeEmbeddings: true })
        const table = "sima_files/devkit/embeddings.npy"
        assert.isBelow(sizeOf(output, table), sizeOf(plain, table) * 0.6)
        assert.strictEqual(runtimeOf(output).embeddings.dtype, "i8")
        const { rows } = yield* answer(yield* opened(output), { ids, maxNewTokens: 1, logits: true })
        const expected = example.array("logits_long").data
        const error = rows.flatMap((row) => Array.from(row)).map((value, i) => Math.abs(value - (expected[i] ?? NaN)))
        assert.strictEqual(error.length, expected.length)
        assert.isBelow(Math.max(...error), 1)
        assert.isAbove(Math.max(...error), example.tolerance)
      }).pipe(Effect.scoped))

    it.effect("--return_logits makes the last layer give logits, and the runner the same ids", () =>
      Effect.gen(function*() {
        const { output: plain } = yield* made()
        const { output } = yield* made({ returnLogits: true })
        assert.deepStrictEqual(yield* lastOutputs(plain), ["token"])
        assert.deepStrictEqual(yield* lastOutputs(output), ["logits"])
        assert.isTrue(runtimeOf(output).returnLogits)
        assert.deepStrictEqual((yield* run(output)).ids, [...new_ids])
      }).pipe(Effect.scoped))

    it.effect("--enable_filter_sharing names the layers whose precisions differ, and only then", () =>
      Effect.gen(function*() {
        const config = `def get_layer_configuration(model, layer):
    mixed = layer["index"] > 0 and layer["is_group"]
    return {"precision": "A_BF16_W_INT8" if mixed else "A_BF16_W_INT4"}
`
        const [warning = "", ...more] = sharingWarnings(yield* made({ enableFilterSharing: true, config }))
        assert.include(warning, "layers 1-2")
        assert.deepStrictEqual(more, [])
        assert.deepStrictEqual(sharingWarnings(yield* made({ config })), [])
        assert.deepStrictEqual(sharingWarnings(yield* made({ enableFilterSharing: true })), [])
      }).pipe(Effect.scoped))

    it.effect("--max_num_tokens ends an answer when prompt and answer fill it, and refuses a longer prompt", () =>
      Effect.gen(function*() {
        const { output } = yield* made({ maxNumTokens: ids.length + 3 })
        const { ids: found, stop } = yield* run(output)
        assert.strictEqual(stop, "context")
        assert.deepStrictEqual(found, new_ids.slice(0, 3))
        const { output: small } = yield* made({ maxNumTokens: ids.length })
        const { code, message } = told(yield* Effect.flip(run(small)))
        assert.strictEqual(code, 3)
        assert.include(message, `${ids.length} tokens`)
        assert.include(message, "--max_num_tokens")
      }).pipe(Effect.scoped))

    it.effect.each([1, 2, 7, 40, 128])(
      "--language_group_size %s gives the same ids",
      (languageGroupSize) =>
        Effect.gen(function*() {
          const { output } = yield* made({ languageGroupSize })
          assert.strictEqual(runtimeOf(output).groupSize, languageGroupSize)
          assert.deepStrictEqual((yield* run(output)).ids, [...new_ids])
        }).pipe(Effect.scoped)
    )

    it.effect("--future_token_mask_size is kept for targets with fixed shapes", () =>
      Effect.gen(function*() {
        const { output } = yield* made({ futureTokenMaskSize: 32 })
        assert.strictEqual(runtimeOf(output).futureTokenMaskSize, 32)
      }).pipe(Effect.scoped))

    it.effect("--pack best makes smaller archives that give the same ids", () =>
      Effect.gen(function*() {
        const { output: fast } = yield* made()
        const { output } = yield* made({ pack: "best" })
        const archive = "sima_files/mpk/layer_0.tar.gz"
        assert.isBelow(sizeOf(output, archive), sizeOf(fast, archive))
        assert.deepStrictEqual((yield* run(output)).ids, [...new_ids])
      }).pipe(Effect.scoped))

    it.effect("--max_memory of the least size is enough for a step of so small a model", () =>
      Effect.gen(function*() {
        const { steps } = yield* plan({ modelPath: model(name), output: "out", verify: "none" })
        assert.isAtMost(PROCESS_MEMORY + Math.max(...steps.map(({ memory }) => memory)), ranges.maxMemory.from)
        const { output, report } = yield* made({ maxMemory: ranges.maxMemory.from, jobs: 8 })
        assert.strictEqual(report.archives, 3)
        assert.deepStrictEqual((yield* run(output)).ids, [...new_ids])
      }).pipe(Effect.scoped))
  })
})

/** Bytes that a stage advanced by, all or those that were kept from before. */
const advanced = (events: ReadonlyArray<ProgressEvent>, stage: string, onlyKept = false): number =>
  events.reduce(
    (sum, event) =>
      event._tag === "Advanced" && event.stage === stage && (event.reused || !onlyKept) ? sum + event.amount : sum,
    0
  )

describe("progress", () => {
  layer(NodeServices.layer, { excludeTestServices: true })((it) => {
    it.effect("adds up to what was planned, stage by stage, in a build and in its resumption", () =>
      Effect.gen(function*() {
        const events: Array<ProgressEvent> = []
        const watched = Progress.layer((event) => Effect.sync(() => void events.push(event)))
        const output = join(yield* folder, "out")
        yield* Effect.provide(made({ output }), watched)
        const build = events.splice(0)
        yield* Effect.provide(made({ output, resume: true, maxNumTokens: 50 }), watched)
        const kept = { build: [false, false, false, false], resumed: [false, true, true, true] }
        for (const [seen, expected] of [[build, kept.build], [events, kept.resumed]] as const) {
          const plans = seen.flatMap((event) => event._tag === "Planned" ? [event.stages] : [])
          assert.strictEqual(plans.length, 1)
          const stages = plans[0] ?? []
          assert.deepStrictEqual(stages.map((stage) => stage.name), ["DEVKIT", "ONNX", "QUANTIZE", "COMPILE"])
          for (const { name, total } of stages) assert.strictEqual(advanced(seen, name), total, name)
          assert.deepStrictEqual(stages.map((stage) => advanced(seen, stage.name, true) > 0), expected)
        }
      }).pipe(Effect.scoped))
  })
})

describe("the output folder", () => {
  layer(Platform, { excludeTestServices: true })((it) => {
    it.effect("may have spaces and other letters in its name", () =>
      Effect.gen(function*() {
        const output = join(yield* folder, "my model, größer #1")
        yield* made({ output })
        assert.deepStrictEqual((yield* run(output)).ids, [...new_ids])
      }).pipe(Effect.scoped))

    it.effect("is refused when it holds what no build made, and used with --force, beside what it holds", () =>
      Effect.gen(function*() {
        const output = join(yield* folder, "out")
        mkdirSync(output)
        writeFileSync(join(output, "thesis.tex"), "x")
        const refused = yield* invoke(compileCommand(build), [model(name), "-o", output])
        assert.strictEqual(refused.code, 3)
        assert.include(refused.err, "thesis.tex")
        assert.include(refused.err, "--force")
        assert.deepStrictEqual(filesOf(output), ["thesis.tex"])
        const forced = yield* invoke(compileCommand(build), [model(name), "-o", output, "--force"])
        assert.strictEqual(forced.code, 0, forced.err)
        assert.strictEqual(readFileSync(join(output, "thesis.tex"), "utf8"), "x")
        assert.deepStrictEqual((yield* run(output)).ids, [...new_ids])
      }).pipe(Effect.scoped))

    it.effect.skipIf(process.platform !== "linux")(
      "that cannot be made is told in one line (on Linux, whose /sys nobody may write)",
      () =>
        Effect.gen(function*() {
          const { code, err } = yield* invoke(compileCommand(build), [model(name), "-o", "/sys/llima-out"])
          assert.strictEqual(code, 3)
          assert.include(err, "/sys/llima-out")
          assert.include(err, "cannot be written")
          assert.include(err, "--output")
          assert.strictEqual(err.trim().split("\n").filter((line) => line.startsWith("error:")).length, 1)
        })
    )

    it.effect("that is below a file is told in one line", () =>
      Effect.gen(function*() {
        const root = yield* folder
        writeFileSync(join(root, "file"), "x")
        const { code, err } = yield* invoke(compileCommand(build), [model(name), "-o", join(root, "file/out")])
        assert.strictEqual(code, 3)
        assert.include(err, join(root, "file/out"))
        assert.notInclude(err, "bug")
      }).pipe(Effect.scoped))

    it.effect("is not used by two runs at once", () =>
      Effect.gen(function*() {
        const output = join(yield* folder, "out")
        yield* made({ output, stages: ["devkit"] })
        const both = [1, 2].map(() => Effect.result(made({ output })))
        const ends = yield* Effect.all(both, { concurrency: 2 })
        const refused = ends.flatMap((end) => end._tag === "Failure" ? [told(end.failure)] : [])
        assert.strictEqual(refused.length, 1)
        assert.strictEqual(refused[0]?.code, 3)
        assert.include(refused[0]?.message, "is building in this folder")
        assert.strictEqual(stepsOf((yield* made({ output, resume: true })).report).made.length, 0)
      }).pipe(Effect.scoped))
  })
})
