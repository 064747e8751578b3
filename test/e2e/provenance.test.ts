import { assert, describe, layer } from "@effect/vitest"
import { Context, Effect, Layer, Schema } from "effect"
import { createHash } from "node:crypto"
import { cpSync, existsSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs"
import { join, relative } from "node:path"
import { inspect } from "../../src/cli/Inspect.ts"
import { llimaCommand } from "../../src/cli/Llima.ts"
import { report } from "../../src/cli/ReportPage.ts"
import { verify } from "../../src/cli/Verify.ts"
import { CompileRequest, type StageFlag, stageFlags } from "../../src/plan/Request.ts"
import { Provenance, provenanceText, readProvenance, requestOf } from "../../src/stage/Provenance.ts"
import { invoke } from "../cli/invoke.ts"
import { type Asked, compile, fixture, folder, model, plan, Platform, stepsOf, told } from "./Build.ts"
import { writeCheckpoint } from "./Checkpoint.ts"

const llima = llimaCommand({ plan: () => Effect.void, run: () => Effect.void, inspect, verify, report })

const config = `def get_layer_configuration(model, layer):
    if layer["index"] == 0:
        return {"precision": "A_BF16_W_INT8"}
    return {"precision": "BF16" if layer["is_group"] else "A_BF16_W_INT4"}
`

/** What was asked, and the build's folder. */
class Whole extends Context.Service<Whole, { readonly asked: Omit<Asked, "output">; readonly out: string }>()(
  "test/e2e/Provenance"
) {}

const whole = Layer.effect(
  Whole,
  Effect.gen(function*() {
    const root = yield* folder
    const modelPath = writeCheckpoint(join(root, "model"), { layers: 2, hidden: 64, intermediate: 96, seed: 3 })
    const configurationFile = join(root, "config.py")
    writeFileSync(configurationFile, config)
    const asked = { modelPath, configurationFile, jobs: 1, maxMemory: 2 ** 30 }
    const out = join(root, "one")
    yield* compile({ ...asked, output: out })
    return { asked, out }
  })
).pipe(Layer.provideMerge(Platform))

const textOf = (out: string) => readFileSync(join(out, "build.json"), "utf8")

/** What is outside of `run`, as it is written. */
const lasting = (out: string): string => {
  const text = textOf(out)
  const at = text.indexOf("\n  \"run\": {")
  assert.isAbove(at, 0)
  return text.slice(0, at)
}

/** A copy of the build, with the times of its files. */
const copyOf = Effect.fnUntraced(function*(out: string) {
  const copy = join(yield* folder, "copy")
  cpSync(out, copy, { recursive: true, preserveTimestamps: true })
  return copy
})

/** Without keys that have no value. */
const plain = (request: CompileRequest): unknown => JSON.parse(JSON.stringify(request))

/** The key of every step, by its id. */
const keys = ({ steps }: { readonly steps: ReadonlyArray<{ readonly id: string; readonly key: string }> }) =>
  steps.map(({ id, key }) => [id, key])

const files = ["build.json", "report.html"]
const there = (out: string) => files.filter((file) => existsSync(join(out, file)))

describe("build.json", () => {
  layer(whole, { excludeTestServices: true })((it) => {
    it.effect("has the same bytes but for the run, whatever the jobs, the folder and the machine's limits", () =>
      Effect.gen(function*() {
        const { asked, out } = yield* Whole
        const other = join(yield* folder, "another name")
        yield* compile({ ...asked, jobs: 8, maxMemory: 2 ** 31, output: other, force: true })
        assert.strictEqual(lasting(other), lasting(out))
        assert.notInclude(lasting(out), out)
        assert.notStrictEqual(textOf(other), textOf(out))
        // the run is the last of its keys
        assert.strictEqual(Object.keys(JSON.parse(textOf(out))).at(-1), "run")
      }).pipe(Effect.scoped))

    it.effect("differs where an option or the source does", () =>
      Effect.gen(function*() {
        const { asked, out } = yield* Whole
        const root = yield* folder
        yield* compile({ ...asked, output: join(root, "a"), pack: "best" })
        assert.notStrictEqual(lasting(join(root, "a")), lasting(out))
        const modelPath = writeCheckpoint(join(root, "model"), { layers: 2, hidden: 64, intermediate: 96, seed: 4 })
        yield* compile({ ...asked, modelPath, output: join(root, "b") })
        const [one, other] = [yield* readProvenance(out), yield* readProvenance(join(root, "b"))]
        assert.notDeepEqual(other.source.files, one.source.files)
      }).pipe(Effect.scoped))

    it.effect("is read back as it was written, and gives its request and the plan's keys", () =>
      Effect.gen(function*() {
        const { asked, out } = yield* Whole
        const text = textOf(out)
        assert.isTrue(text.endsWith("}\n"))
        const provenance = yield* readProvenance(out)
        assert.strictEqual(provenanceText(provenance), text)
        const request = CompileRequest.make({ verify: "none", ...asked, output: out })
        assert.deepStrictEqual(plain(requestOf(provenance)), plain(request))
        assert.deepStrictEqual(keys(yield* plan(requestOf(provenance))), keys(yield* plan(request)))
      }))

    it.effect("gives every option back", () =>
      Effect.gen(function*() {
        const { asked } = yield* Whole
        const request = CompileRequest.make({
          ...asked,
          output: join(yield* folder, "out"),
          maxNumTokens: 200,
          languageGroupSize: 32,
          futureTokenMaskSize: 64,
          enableFilterSharing: true,
          quantizeEmbeddings: true,
          returnLogits: true,
          verify: "none",
          keepQuantized: "none",
          pack: "best"
        })
        yield* compile(request)
        assert.deepStrictEqual(plain(requestOf(yield* readProvenance(request.output))), plain(request))
      }).pipe(Effect.scoped))

    it.effect("names every shipped file with its size and sha256, and every file of the source", () =>
      Effect.gen(function*() {
        const { asked, out } = yield* Whole
        const { artifacts, source } = yield* readProvenance(out)
        const paths = artifacts.map(({ path }) => path)
        assert.deepStrictEqual(paths, [...paths].sort())
        for (
          const wanted of ["mpk/layer_0.tar.gz", "mpk/layer_1.tar.gz", "devkit/tokenizer.json", "devkit/embeddings.npy"]
        ) {
          assert.include(paths, `sima_files/${wanted}`)
        }
        for (const { bytes, path, sha256 } of artifacts) {
          const content = readFileSync(join(out, path))
          assert.strictEqual(content.length, bytes)
          assert.strictEqual(createHash("sha256").update(content).digest("hex"), sha256)
        }
        for (const { bytes, name, sha256 } of source.files) {
          const content = readFileSync(join(asked.modelPath, name))
          assert.strictEqual(content.length, bytes)
          assert.strictEqual(createHash("sha256").update(content).digest("hex"), sha256)
        }
      }))

    it.effect("tells what became of every program and layer", () =>
      Effect.gen(function*() {
        const { out } = yield* Whole
        const { layers, parts, run, weights } = yield* readProvenance(out)
        assert.strictEqual(parts.length, 12)
        const of = (name: string) => parts.find(({ program }) => program === name)
        assert.deepInclude(of("group_pre_0"), { layer: 0, part: "PRE", phase: "group", precision: "A_BF16_W_INT8" })
        assert.deepInclude(of("single_post_1"), { phase: "single", precision: "A_BF16_W_INT4" })
        assert.strictEqual(of("group_post_1")?.after, of("group_post_1")?.before)
        assert.isBelow(of("group_pre_0")?.after ?? 0, of("group_pre_0")?.before ?? 0)
        assert.deepStrictEqual([...new Set(layers.map(({ layer }) => layer))], [0, 1])
        for (const { after, before, precision, weights: numbers } of weights) {
          const same = layers.filter((size) => size.precision === precision)
          assert.strictEqual(same.reduce((sum, size) => sum + size.after, 0), after)
          assert.strictEqual(same.reduce((sum, size) => sum + size.before, 0), before)
          assert.strictEqual(same.reduce((sum, size) => sum + size.weights, 0), numbers)
        }
        assert.isAbove(run.peakMemory, 2 ** 20)
        assert.isTrue(run.steps.every(({ kept, seconds }) => !kept && seconds !== null && seconds >= 0))
      }))

    it.effect("stays as it is when --resume has nothing to do, and is whole after what was kept", () =>
      Effect.gen(function*() {
        const { asked, out } = yield* Whole
        const copy = yield* copyOf(out)
        const before = textOf(copy)
        yield* compile({ ...asked, output: copy, resume: true })
        assert.strictEqual(textOf(copy), before)
        rmSync(join(copy, "sima_files/mpk/layer_1.tar.gz"))
        const { made } = stepsOf(yield* compile({ ...asked, output: copy, resume: true }))
        assert.deepStrictEqual(made, ["compile/layer_1"])
        assert.strictEqual(lasting(copy), lasting(out))
        const [one, other] = [yield* readProvenance(out), yield* readProvenance(copy)]
        assert.isTrue(other.run.resume)
        for (const [i, { id, kept, seconds }] of other.run.steps.entries()) {
          assert.strictEqual(kept, id !== "compile/layer_1")
          if (kept) assert.strictEqual(seconds, one.run.steps[i]?.seconds, id)
        }
        // what was deleted is made again of nothing but stamps
        for (const file of files) rmSync(join(copy, file))
        yield* compile({ ...asked, output: copy, resume: true })
        assert.deepStrictEqual(there(copy), files)
        assert.strictEqual(lasting(copy), lasting(out))
      }).pipe(Effect.scoped))

    it.effect("is there once every stage has run, one after the other too, and not before", () =>
      Effect.gen(function*() {
        const { asked, out } = yield* Whole
        const output = join(yield* folder, "out")
        const stage = (...stages: ReadonlyArray<StageFlag>) => compile({ ...asked, output, stages, resume: true })
        for (const one of ["devkit", "onnx", "quantize"] as const) {
          assert.deepStrictEqual((yield* stage(one)).files, [])
          assert.deepStrictEqual(there(output), [])
        }
        assert.deepStrictEqual((yield* stage("compile")).files, files)
        assert.strictEqual(lasting(output), lasting(out))
        assert.deepStrictEqual(requestOf(yield* readProvenance(output)).stages, stageFlags)
        // other options make the whole another one
        yield* compile({ ...asked, output, stages: ["onnx", "quantize"], returnLogits: true, resume: true })
        assert.deepStrictEqual(there(output), [])
      }).pipe(Effect.scoped))

    it.effect("is missed or found damaged by name, with what to do", () =>
      Effect.gen(function*() {
        const { out } = yield* Whole
        const copy = yield* copyOf(out)
        writeFileSync(join(copy, "build.json"), textOf(out).replace("\"format\": 1", "\"format\": 2"))
        const damaged = told(yield* Effect.flip(readProvenance(copy)))
        assert.strictEqual(damaged.code, 3)
        assert.include(damaged.message, join(copy, "build.json"))
        assert.include(damaged.message, "expected format 1")
        rmSync(join(copy, "build.json"))
        const missing = told(yield* Effect.flip(readProvenance(copy)))
        assert.strictEqual(missing.code, 3)
        assert.include(missing.message, "--resume")
      }).pipe(Effect.scoped))
  })
})

describe("what tells of a build", () => {
  layer(whole, { excludeTestServices: true })((it) => {
    it.effect("`llima report` renders the same page again, anywhere", () =>
      Effect.gen(function*() {
        const { out } = yield* Whole
        const copy = yield* copyOf(out)
        const page = readFileSync(join(copy, "report.html"), "utf8")
        rmSync(join(copy, "report.html"))
        assert.deepStrictEqual(yield* invoke(llima, ["report", copy]), {
          code: 0,
          out: join(copy, "report.html"),
          err: ""
        })
        assert.strictEqual(readFileSync(join(copy, "report.html"), "utf8"), page)
        const file = relative(process.cwd(), join(copy, "page.html"))
        assert.strictEqual((yield* invoke(llima, ["report", copy, "-o", file])).out, join(copy, "page.html"))
        assert.strictEqual(readFileSync(join(copy, "page.html"), "utf8"), page)
        const nowhere = yield* invoke(llima, ["report", copy, "-o", join(copy, "no/page.html")])
        assert.strictEqual(nowhere.code, 3)
        assert.include(nowhere.err, "expected a file that can be written")
        assert.strictEqual((yield* invoke(llima, ["report", join(copy, "sima_files")])).code, 3)
      }).pipe(Effect.scoped))

    it.effect("`llima inspect` prints the same facts, and as JSON", () =>
      Effect.gen(function*() {
        const { out } = yield* Whole
        const text = yield* invoke(llima, ["inspect", out])
        assert.strictEqual(text.code, 0)
        for (
          const wanted of [/^verified +no$/m, /^A_BF16_W_INT8 +\S+ K +/m, /^COMPILE +2 +/m, /^shipped +\d+ files/m]
        ) {
          assert.match(text.out, wanted)
        }
        const { out: json } = yield* invoke(llima, ["inspect", out, "--json"])
        const { provenance } = yield* Schema.decodeEffect(
          Schema.fromJsonString(Schema.Struct({ provenance: Provenance }))
        )(json)
        assert.deepStrictEqual(provenance, yield* readProvenance(out))
        const copy = yield* copyOf(out)
        rmSync(join(copy, "build.json"))
        assert.include((yield* invoke(llima, ["inspect", copy])).out, "no build.json")
      }).pipe(Effect.scoped))
  })
})

describe("a build that was verified", () => {
  layer(Platform, { excludeTestServices: true })((it) => {
    it.effect(
      "has its errors in build.json, and names its checkpoint to `llima verify`",
      () =>
        Effect.gen(function*() {
          const output = join(yield* folder, "out")
          const { verification } = yield* compile({
            modelPath: relative(process.cwd(), model("llama-tied-rope-llama3")),
            output,
            verify: "quick"
          })
          const provenance = yield* readProvenance(output)
          assert.isTrue(provenance.verification?.passed)
          assert.deepStrictEqual(provenance.verification, verification)
          assert.include(readFileSync(join(output, "report.html"), "utf8"), "within all limits")
          assert.match((yield* invoke(llima, ["inspect", output])).out, /^verified +passed: quick, /m)
          assert.strictEqual(statSync(requestOf(provenance).modelPath).isDirectory(), true)
          const again = yield* invoke(llima, ["verify", output, "--json"])
          assert.strictEqual(again.code, 0, again.err)
          rmSync(join(output, "build.json"))
          const unnamed = yield* invoke(llima, ["verify", output])
          assert.strictEqual(unnamed.code, 3)
          assert.include(unnamed.err, "add --model MODEL_PATH")
        }).pipe(Effect.scoped),
      20_000
    )

    it.effect(
      "of a source that was quantised before counts what became of its tensors",
      () =>
        Effect.gen(function*() {
          const output = join(yield* folder, "out")
          yield* compile({ modelPath: fixture("compressed/llama-w4a16-gptq-g32"), output })
          const { intake, source } = yield* readProvenance(output)
          assert.strictEqual(source.kind, "quantized")
          assert.isAbove(intake?.exact ?? 0, 0)
          assert.strictEqual(
            intake?.tensors.length,
            (intake?.exact ?? 0) + (intake?.converted ?? 0) + (intake?.requantised ?? 0)
          )
          assert.include(readFileSync(join(output, "report.html"), "utf8"), "Quantised before")
        }).pipe(Effect.scoped)
    )
  })
})
