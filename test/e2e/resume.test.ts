import { assert, describe, layer } from "@effect/vitest"
import { Context, Effect, Layer } from "effect"
import { cpSync, readFileSync, rmSync, statSync, truncateSync, utimesSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { type Asked, assertSameBuild, assertSameFiles, compile, filesOf, folder, Platform, stepsOf } from "./Build.ts"
import { writeCheckpoint } from "./Checkpoint.ts"

const LAYERS = 3

/** Even layers in 8 bits, the odd one in 4 for answers and as it is for prompts. */
const config = `def get_layer_configuration(model, layer):
    if layer["index"] % 2 == 0:
        return {"precision": "A_BF16_W_INT8"}
    return {"precision": "BF16" if layer["is_group"] else "A_BF16_W_INT4"}
`

/** A checkpoint of three layers, its configuration file, and a build of it that nothing disturbed. */
class Whole extends Context.Service<Whole, { readonly asked: Omit<Asked, "output">; readonly out: string }>()(
  "test/e2e/Whole"
) {}

const whole = Layer.effect(
  Whole,
  Effect.gen(function*() {
    const root = yield* folder
    const modelPath = writeCheckpoint(join(root, "model"), { layers: LAYERS, hidden: 64, intermediate: 96, seed: 7 })
    const configurationFile = join(root, "config.py")
    writeFileSync(configurationFile, config)
    const asked = { modelPath, configurationFile, jobs: 2 }
    const out = join(root, "whole")
    const { steps } = yield* compile({ ...asked, output: out })
    assert.strictEqual(steps.length, 3 + 3 * LAYERS)
    return { asked, out }
  })
).pipe(Layer.provideMerge(Platform))

/** A copy of the undisturbed build, with the times of its files, to try something on. */
const copyOf = Effect.fnUntraced(function*(out: string) {
  const copy = join(yield* folder, "out")
  cpSync(out, copy, { recursive: true, preserveTimestamps: true })
  return copy
})

const everyLayer = (stage: string, layers = LAYERS) => Array.from({ length: layers }, (_, i) => `${stage}/layer_${i}`)

describe("builds of the same checkpoint", () => {
  layer(whole, { excludeTestServices: true })((it) => {
    it.effect.each([1, 8])("have the same bytes with %s jobs", (jobs) =>
      Effect.gen(function*() {
        const { asked, out } = yield* Whole
        const other = join(yield* folder, "out")
        yield* compile({ ...asked, jobs, output: other })
        assertSameBuild(other, out)
      }).pipe(Effect.scoped))

    it.effect("have the same bytes when the checkpoint lies elsewhere and its files have other times", () =>
      Effect.gen(function*() {
        const { asked, out } = yield* Whole
        const root = yield* folder
        cpSync(asked.modelPath, join(root, "model"), { recursive: true })
        utimesSync(join(root, "model/model.safetensors"), 1_000_000, 1_000_000)
        yield* compile({ ...asked, modelPath: join(root, "model"), output: join(root, "out") })
        assertSameBuild(join(root, "out"), out)
      }).pipe(Effect.scoped))
  })
})

/** What an option changes, and the steps that it touches. */
const changes: ReadonlyArray<
  { readonly title: string; readonly change: Partial<Asked>; readonly made: ReadonlyArray<string> }
> = [
  { title: "nothing", change: {}, made: [] },
  { title: "the number of jobs", change: { jobs: 1 }, made: [] },
  { title: "--max_num_tokens", change: { maxNumTokens: 200 }, made: ["devkit"] },
  { title: "--language_group_size", change: { languageGroupSize: 32 }, made: ["devkit"] },
  { title: "--quantize_embeddings", change: { quantizeEmbeddings: true }, made: ["devkit"] },
  {
    title: "--return_logits",
    change: { returnLogits: true },
    made: ["compile/layer_2", "devkit", "onnx/layer_2", "quantize/layer_2"]
  },
  { title: "--pack", change: { pack: "best" }, made: everyLayer("compile") }
]

describe("--resume", () => {
  layer(whole, { excludeTestServices: true })((it) => {
    it.effect.each(changes)(
      "after a change of $title redoes exactly the steps that it touches",
      ({ change, made }) =>
        Effect.gen(function*() {
          const { asked, out } = yield* Whole
          const copy = yield* copyOf(out)
          const steps = stepsOf(yield* compile({ ...asked, ...change, output: copy, resume: true }))
          assert.deepStrictEqual(steps.made, [...made].sort())
          assert.strictEqual(steps.kept.length, 3 + 3 * LAYERS - made.length)
          const fresh = join(yield* folder, "out")
          yield* compile({ ...asked, ...change, output: fresh })
          assertSameBuild(copy, fresh)
          // and back again
          yield* compile({ ...asked, output: copy, resume: true })
          assertSameBuild(copy, out)
        }).pipe(Effect.scoped)
    )

    it.effect("after a change of one layer's precision redoes that layer and what tells of it", () =>
      Effect.gen(function*() {
        const { asked, out } = yield* Whole
        const copy = yield* copyOf(out)
        const configurationFile = join(yield* folder, "other.py")
        writeFileSync(configurationFile, config.replace(`"BF16" if layer["is_group"] else "A_BF16_W_INT4"`, `"BF16"`))
        const { made } = stepsOf(yield* compile({ ...asked, configurationFile, output: copy, resume: true }))
        assert.deepStrictEqual(made, ["compile/layer_1", "devkit", "quantize/layer_1"])
        const fresh = join(yield* folder, "out")
        yield* compile({ ...asked, configurationFile, output: fresh })
        assertSameBuild(copy, fresh)
      }).pipe(Effect.scoped))

    it.effect("after another comment in the configuration file redoes nothing", () =>
      Effect.gen(function*() {
        const { asked, out } = yield* Whole
        const copy = yield* copyOf(out)
        const configurationFile = join(yield* folder, "other.py")
        writeFileSync(configurationFile, `# the same table\n${config}`)
        const { made } = stepsOf(yield* compile({ ...asked, configurationFile, output: copy, resume: true }))
        assert.deepStrictEqual(made, [])
      }).pipe(Effect.scoped))

    it.effect("after the checkpoint has changed redoes all of it", () =>
      Effect.gen(function*() {
        const { asked, out } = yield* Whole
        const root = yield* folder
        const copy = yield* copyOf(out)
        const modelPath = writeCheckpoint(join(root, "model"), {
          layers: LAYERS,
          hidden: 64,
          intermediate: 96,
          seed: 8
        })
        const { kept } = stepsOf(yield* compile({ ...asked, modelPath, output: copy, resume: true }))
        assert.deepStrictEqual(kept, [])
        yield* compile({ ...asked, modelPath, output: join(root, "fresh") })
        assertSameBuild(copy, join(root, "fresh"))
      }).pipe(Effect.scoped))

    it.effect("without it every step is done again", () =>
      Effect.gen(function*() {
        const { asked, out } = yield* Whole
        const copy = yield* copyOf(out)
        const { kept } = stepsOf(yield* compile({ ...asked, output: copy }))
        assert.deepStrictEqual(kept, [])
        assertSameBuild(copy, out)
      }).pipe(Effect.scoped))

    it.effect("after --keep none has nothing to do, and makes again what another option needs", () =>
      Effect.gen(function*() {
        const { asked, out } = yield* Whole
        const root = yield* folder
        const output = join(root, "out")
        yield* compile({ ...asked, output, keepQuantized: "none" })
        assert.deepStrictEqual(filesOf(join(output, "sima_files/quantized")), [])
        const again = stepsOf(yield* compile({ ...asked, output, keepQuantized: "none", resume: true }))
        assert.deepStrictEqual(again.made, [])
        yield* compile({ ...asked, output, keepQuantized: "none", resume: true, returnLogits: true })
        assert.deepStrictEqual(filesOf(join(output, "sima_files/quantized")), [])
        const changed = yield* compile({ ...asked, output, resume: true })
        assert.includeMembers(stepsOf(changed).made, everyLayer("quantize"))
        assertSameBuild(output, out)
      }).pipe(Effect.scoped))
  })
})

/** One byte in the middle of a file becomes another. */
const flip = (path: string) => {
  const bytes = readFileSync(path)
  const middle = bytes.length >> 1
  bytes[middle] = (bytes[middle] ?? 0) ^ 1
  writeFileSync(path, bytes)
}

const damages = [
  { damage: "a flipped byte", harm: flip },
  { damage: "a cut end", harm: (path: string) => truncateSync(path, statSync(path).size - 1) },
  { damage: "a missing file", harm: (path: string) => rmSync(path) }
]

/** A file of every stage, and the step that makes it. */
const victims = [
  { file: /devkit\/embeddings\.npy$/, step: "devkit" },
  { file: /devkit\/runtime\.json$/, step: "devkit" },
  { file: /^onnx_files\/weights\/model\.safetensors$/, step: "onnx/weights" },
  { file: /^onnx_files\/group_pre_1\.onnx$/, step: "onnx/layer_1" },
  { file: /quantized\/weights\/post_0\..*\.bin$/, step: "quantize/layer_0" },
  { file: /quantized\/single_cache_2\.onnx$/, step: "quantize/layer_2" },
  { file: /mpk\/layer_1\.tar\.gz$/, step: "compile/layer_1" }
]

describe("a damaged build", () => {
  layer(whole, { excludeTestServices: true })((it) => {
    it.effect.each(victims.flatMap((victim) => damages.map((damage) => ({ ...victim, ...damage }))))(
      "with $damage in $file is mended by $step alone",
      ({ file, harm, step }) =>
        Effect.gen(function*() {
          const { asked, out } = yield* Whole
          const copy = yield* copyOf(out)
          const found = filesOf(copy).filter((path) => file.test(path))
          assert.strictEqual(found.length, 1)
          harm(join(copy, found[0] ?? ""))
          const { made } = stepsOf(yield* compile({ ...asked, output: copy, resume: true }))
          assert.deepStrictEqual(made, [step])
          assertSameBuild(copy, out)
          assertSameFiles(join(copy, "onnx_files"), join(out, "onnx_files"))
        }).pipe(Effect.scoped)
    )

    it.effect("with a stamp that is no stamp is mended", () =>
      Effect.gen(function*() {
        const { asked, out } = yield* Whole
        const copy = yield* copyOf(out)
        const stamp = join(copy, ".llima/steps", `${encodeURIComponent("compile/layer_0")}.json`)
        truncateSync(stamp, 20)
        const { made } = stepsOf(yield* compile({ ...asked, output: copy, resume: true }))
        assert.deepStrictEqual(made, ["compile/layer_0"])
        assertSameBuild(copy, out)
      }).pipe(Effect.scoped))
  })
})
