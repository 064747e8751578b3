import { assert, describe, layer } from "@effect/vitest"
import { Context, Effect, Layer, Schema } from "effect"
import { readdirSync, readFileSync, statSync, utimesSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { gunzipSync, gzipSync } from "node:zlib"
import { inspect } from "../../src/cli/Inspect.ts"
import { llimaCommand } from "../../src/cli/Llima.ts"
import { verify } from "../../src/cli/Verify.ts"
import { runtimeConfigPath } from "../../src/devkit/RuntimeConfig.ts"
import { CompileRequest } from "../../src/plan/Request.ts"
import { Compiler } from "../../src/stage/Compiler.ts"
import { Progress, type ProgressEvent } from "../../src/stage/Progress.ts"
import { servicesFor } from "../../src/stage/Services.ts"
import { builtJob } from "../../src/stage/verification/BuiltJob.ts"
import { Verifier } from "../../src/stage/Verifier.ts"
import { hostLayer } from "../../src/target/host.ts"
import { Target } from "../../src/target/Target.ts"
import { checkpoint } from "../../src/testing.ts"
import { Verification } from "../../src/verify/Verification.ts"
import { invoke } from "../cli/invoke.ts"
import { compile, folder, model, Platform, stepsOf, told } from "./Build.ts"

const name = "llama-tied-rope-llama3"

const llima = llimaCommand({
  plan: () => Effect.void,
  run: () => Effect.void,
  inspect,
  verify,
  report: () => Effect.void
})

const precision = (file: string, value: string) => {
  writeFileSync(file, JSON.stringify({ default: { precision: value } }))
  return file
}

/** Builds: bf16 and int8. */
class Built extends Context.Service<Built, { readonly bf16: string; readonly int8: string; readonly root: string }>()(
  "test/e2e/Verified"
) {}

const built = Layer.effect(
  Built,
  Effect.gen(function*() {
    const root = yield* folder
    const [bf16, int8] = [join(root, "bf16"), join(root, "int8")]
    yield* compile({ modelPath: model(name), output: bf16, verify: "none" })
    yield* compile({
      modelPath: model(name),
      output: int8,
      verify: "none",
      configurationFile: precision(join(root, "int8.json"), "A_BF16_W_INT8")
    })
    return { root, bf16, int8 }
  })
).pipe(Layer.provideMerge(Platform))

const archive = (out: string, index: number) => join(out, `sima_files/mpk/layer_${index}.tar.gz`)

/** The name with gate and up exchanged. */
const other = (weight: string) =>
  weight.includes("gate_proj") ? weight.replace("gate_proj", "up_proj") : weight.replace("up_proj", "gate_proj")

const ask = (out: string, ...args: ReadonlyArray<string>) =>
  invoke(llima, ["verify", out, "--model", model(name), ...args])

/** Changes the numbers of a layer's archive while `use` runs; it is a sound archive before and after. */
const damaged = <A, E, R>(
  file: string,
  change: (weights: Uint8Array) => void,
  use: Effect.Effect<A, E, R>,
  restore = true
) =>
  Effect.acquireUseRelease(
    Effect.sync(() => {
      const before = readFileSync(file)
      const tar = gunzipSync(before)
      // a header of 512 bytes, which begins with the file's name, stands before its content
      const header = tar.indexOf("weights.bin\0")
      assert.isAbove(header, 0)
      const bytes = Number.parseInt(tar.toString("latin1", header + 124, header + 135), 8)
      change(tar.subarray(header + 512, header + 512 + bytes))
      writeFileSync(file, gzipSync(tar))
      return before
    }),
    () => use,
    (before) => Effect.sync(() => restore ? writeFileSync(file, before) : undefined)
  )

describe("llima-compile --verify", () => {
  layer(built, { excludeTestServices: true })((it) => {
    it.effect(
      "compares every part, and does so again only when something was made again",
      () =>
        Effect.gen(function*() {
          const root = yield* folder
          const asked = {
            modelPath: model(name),
            output: join(root, "out"),
            maxNumTokens: 64,
            verify: "quick" as const
          }
          const first = yield* compile(asked)
          const { verification } = first
          assert.isTrue(verification?.passed)
          assert.include(stepsOf(first).made, "verify")
          const seen = new Set(verification?.checks.map(({ program, tensor }) => `${program} ${tensor}`))
          for (const one of ["embeddings rows", "group_pre_0 q", "group_cache_1 attended", "group_post_0 hidden_out"]) {
            assert.isTrue(seen.has(one), one)
          }
          assert.isTrue([...seen].some((one) => one.endsWith(" logits")))
          // one program serves both phases, byte for byte
          assert.isFalse([...seen].some((one) => one.startsWith("single_")))
          const second = yield* compile({ ...asked, resume: true })
          assert.deepStrictEqual(stepsOf(second).made, [])
          assert.include(stepsOf(second).kept, "verify")
          assert.deepStrictEqual(second.verification, verification)
          writeFileSync(archive(asked.output, 0), "gone")
          assert.deepStrictEqual(stepsOf(yield* compile({ ...asked, resume: true })).made, [
            "compile/layer_0",
            "verify"
          ])
        }),
      20_000
    )

    it.effect(
      "checks both phases where their precisions differ, and says what was left out",
      () =>
        Effect.gen(function*() {
          const root = yield* folder
          const configurationFile = join(root, "c.json")
          writeFileSync(
            configurationFile,
            JSON.stringify({
              rules: [
                { layers: 0, is_group: false, precision: "A_BF16_W_INT4" },
                { layers: 1, part: "PRE", is_group: false, compile: false }
              ],
              default: { precision: "A_BF16_W_INT8" }
            })
          )
          const { verification } = yield* compile({
            modelPath: model(name),
            output: join(root, "out"),
            configurationFile,
            verify: "quick"
          })
          const of = (program: string) => verification?.checks.find((check) => check.program === program)?.precision
          assert.strictEqual(of("group_pre_0"), "A_BF16_W_INT8")
          assert.strictEqual(of("single_pre_0"), "A_BF16_W_INT4")
          assert.deepStrictEqual(verification?.skipped, ["single_pre_1"])
        }),
      20_000
    )

    it.effect("catches exchanged gate and up, leaves with 6, and keeps the archives", () =>
      Effect.gen(function*() {
        const root = yield* folder
        const request = CompileRequest.make({ modelPath: model(name), output: join(root, "out") })
        const exchanged = Layer.effect(
          Target,
          Effect.map(Target, ({ compile, ...rest }) => ({
            ...rest,
            compile: (part) =>
              compile({
                ...part,
                graph: {
                  ...part.graph,
                  initializers: part.graph.initializers.map((initializer) => ({
                    ...initializer,
                    data: part.graph.initializers.find(({ name }) => name === other(initializer.name))?.data ??
                      initializer.data
                  }))
                }
              })
          }))
        ).pipe(Layer.provide(hostLayer))
        const error = yield* Effect.flatMap(Compiler, (compiler) => compiler.compile(request)).pipe(
          Effect.provide(Layer.provide(Compiler.layer, Layer.merge(servicesFor(request), exchanged))),
          Effect.flip
        )
        const { code, message } = told(error)
        assert.strictEqual(code, 6, message)
        assert.match(message, /verify: group_post_\d, \w+: relative error \d\.\d+, at most 1\.00e-4 for BF16/)
        assert.match(message, /higher precision.*--verify none/s)
        assert.include(readdirSync(join(request.output, "sima_files/mpk")), "layer_0.tar.gz")
      }), 20_000)
  })
})

describe("llima verify", () => {
  layer(built, { excludeTestServices: true })((it) => {
    it.effect("repeats it on a finished build, and prints the figures", () =>
      Effect.gen(function*() {
        const { int8 } = yield* Built
        const { code, err, out } = yield* ask(int8, "--json")
        assert.strictEqual(code, 0, err)
        const { checks, mode, passed } = yield* Schema.decodeEffect(Schema.fromJsonString(Verification))(out)
        assert.deepStrictEqual({ mode, passed }, { mode: "quick", passed: true })
        assert.isTrue(checks.some(({ error, precision }) => precision === "A_BF16_W_INT8" && error > 1e-3))
        assert.match((yield* ask(int8)).out, /group_post_\d +hidden_out +A_BF16_W_INT8/)
      }), 20_000)

    it.effect("full compares the distribution at the end, all errors together", () =>
      Effect.gen(function*() {
        const { int8 } = yield* Built
        const { code, err, out } = yield* ask(int8, "full", "--json")
        assert.strictEqual(code, 0, err)
        const { divergence } = yield* Schema.decodeEffect(Schema.fromJsonString(Verification))(out)
        assert.isAbove(divergence?.positions ?? 0, 32)
        assert.isAbove(divergence?.kl ?? 0, 0)
        assert.isTrue(divergence?.passed)
      }), 20_000)

    it.effect(
      "full follows the build's own programs: what the first layer does wrong is in the distribution",
      () =>
        Effect.gen(function*() {
          const { int8 } = yield* Built
          const klOf = Effect.fnUntraced(function*(out: string) {
            const { divergence } = yield* Schema.decodeEffect(Schema.fromJsonString(Verification))(out)
            return divergence?.kl ?? 0
          })
          const sound = yield* klOf((yield* ask(int8, "full", "--json")).out)
          const { code, out } = yield* damaged(
            archive(int8, 0),
            (weights) => weights.fill(0x40, 0, 2048),
            ask(int8, "full", "--json")
          )
          assert.strictEqual(code, 6)
          assert.isAbove(yield* klOf(out), 10 * sound)
        }),
      30_000
    )

    it.effect(
      "catches a damaged weight, naming part, tensor, figure, threshold and what to try",
      () =>
        Effect.gen(function*() {
          const { int8 } = yield* Built
          const { code, err } = yield* damaged(
            archive(int8, 1),
            (weights) => weights.fill(0x40, 0, 2048),
            ask(int8)
          )
          assert.strictEqual(code, 6, err)
          assert.match(err, /error: group_\w+_1, \w+: relative error \d\.\d+, at most 0\.\d+ for A_BF16_W_INT8/)
          assert.match(err, /configuration file/)
          assert.strictEqual((yield* ask(int8)).code, 0)
        }),
      20_000
    )

    it.effect(
      "names a file that changed by less than its precision explains, and --resume makes it again",
      () =>
        Effect.gen(function*() {
          const root = yield* folder
          const output = join(root, "out")
          const asked = {
            modelPath: model(name),
            output,
            configurationFile: precision(join(root, "int4.json"), "A_BF16_W_INT4")
          }
          yield* compile(asked)
          const file = archive(output, 1)
          const [before, { atime, mtime }] = [readFileSync(file), statSync(file)]
          const change = Effect.gen(function*() {
            // as a disk does it: the size and the time stay
            utimesSync(file, atime, mtime)
            return yield* ask(output)
          })
          const { code, err } = yield* damaged(file, (weights) => weights.fill(0, 0, 2), change, false)
          assert.strictEqual(code, 6, err)
          assert.include(err, "error: sima_files/mpk/layer_1.tar.gz: expected ")
          assert.include(err, "--resume makes these again")
          assert.deepStrictEqual(stepsOf(yield* compile({ ...asked, resume: true })).made, ["compile/layer_1"])
          assert.isTrue(before.equals(readFileSync(file)))
          assert.strictEqual((yield* ask(output)).code, 0)
        }),
      30_000
    )

    it.effect(
      "refuses a checkpoint that the build was not made of, by its first file that differs",
      () =>
        Effect.gen(function*() {
          const { int8 } = yield* Built
          const { code, err } = yield* invoke(llima, ["verify", int8, "--model", model("qwen3")])
          assert.strictEqual(code, 3, err)
          assert.match(err, /qwen3 is not the checkpoint that .*int8 was made of: \S+: expected \d+ bytes/)
        }),
      20_000
    )

    it.effect("names tensor and index of what is no number", () =>
      Effect.gen(function*() {
        const { bf16 } = yield* Built
        const { code, err } = yield* damaged(archive(bf16, 0), (weights) => weights.fill(0xff, 0, 2), ask(bf16))
        assert.strictEqual(code, 6, err)
        assert.match(err, /group_\w+_0, \w+: expected a finite number at \[\d+, \d+\], found NaN/)
      }), 20_000)

    it.effect("catches a wrong rotary base in runtime.json", () =>
      Effect.gen(function*() {
        const { bf16 } = yield* Built
        const file = join(bf16, runtimeConfigPath)
        const text = readFileSync(file, "utf8")
        const config: { readonly ropes: ReadonlyArray<{ readonly inverseFrequencies: ReadonlyArray<number> }> } = JSON
          .parse(text)
        const ropes = config.ropes.map((rope) => ({
          ...rope,
          inverseFrequencies: rope.inverseFrequencies.map((_, i, all) => 50_000 ** (-i / all.length))
        }))
        writeFileSync(file, JSON.stringify({ ...config, ropes }))
        const { code, err, out } = yield* ask(bf16, "--json").pipe(
          Effect.ensuring(Effect.sync(() => writeFileSync(file, text)))
        )
        assert.strictEqual(code, 6, err)
        assert.match(err, /runtime.json, layer 0, cos of the last 16 positions: relative error/)
        // as a part sees it, where its weights are not rounded
        const { checks } = yield* Schema.decodeEffect(Schema.fromJsonString(Verification))(out)
        assert.isTrue(
          checks.some(({ passed, program, tensor }) => !passed && program === "group_pre_0" && tensor === "q")
        )
      }), 20_000)

    it.effect("says what is missing, and leaves with 3", () =>
      Effect.gen(function*() {
        const { root } = yield* Built
        for (const [args, said] of [[[root], "--model"], [[root, "--model", model(name)], "finished build"]] as const) {
          const { code, err } = yield* invoke(llima, ["verify", ...args])
          assert.strictEqual(code, 3, err)
          assert.include(err, said)
        }
      }))

    it.effect(
      "holds one unpacked layer at a time, however many there are, and leaves nothing behind",
      () =>
        Effect.gen(function*() {
          const root = yield* folder
          const [modelPath, output] = [yield* checkpoint({ layers: 9 }), join(root, "out")]
          yield* compile({ modelPath, output, verify: "none" })
          const job = yield* builtJob(output, modelPath)
          const own = join(output, ".llima")
          const unpacked: Array<number> = []
          const { verify } = yield* Verifier
          const { checks } = yield* verify(job, {
            mode: "quick",
            output,
            advance: () =>
              Effect.sync(() => {
                const [scratch = ""] = readdirSync(own).filter((entry) => entry.startsWith("verify-"))
                unpacked.push(readdirSync(join(own, scratch)).length)
              })
          })
          assert.strictEqual(checks.filter(({ tensor }) => tensor === "q").length, 9)
          assert.strictEqual(unpacked.length, 9)
          assert.isAtMost(Math.max(...unpacked), 1)
          assert.isEmpty(readdirSync(own).filter((entry) => entry.startsWith("verify-")))
        }).pipe(Effect.provide(servicesFor(CompileRequest.make({ modelPath: "m", output: "o" })))),
      20_000
    )
  })
})

describe("the progress of VERIFY", () => {
  layer(Platform, { excludeTestServices: true })((it) => {
    it.effect("goes on layer by layer to what was planned", () =>
      Effect.gen(function*() {
        const root = yield* folder
        const request = CompileRequest.make({ modelPath: model(name), output: join(root, "out") })
        const events: Array<ProgressEvent> = []
        yield* Effect.flatMap(Compiler, (compiler) => compiler.compile(request)).pipe(
          Effect.provide(Layer.provide(Compiler.layer, [
            servicesFor(request),
            Progress.layer((event) => Effect.sync(() => events.push(event)))
          ]))
        )
        const stages = events.flatMap((event) => event._tag === "Planned" ? event.stages : [])
        const total = stages.find((stage) => stage.name === "VERIFY")?.total ?? 0
        const steps = events.flatMap((event) =>
          event._tag === "Advanced" && event.stage === "VERIFY" ? [event.amount] : []
        )
        assert.isAbove(total, 0)
        assert.isAtLeast(steps.filter((amount) => amount > 0).length, 2)
        assert.closeTo(steps.reduce((sum, amount) => sum + amount, 0), total, 1)
      }))
  })
})
