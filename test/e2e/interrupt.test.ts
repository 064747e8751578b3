import { assert, describe, layer } from "@effect/vitest"
import { Context, Effect, Layer } from "effect"
import { spawn } from "node:child_process"
import { writeFileSync } from "node:fs"
import { join } from "node:path"
import { setImmediate } from "node:timers/promises"
import {
  answer,
  assertSameBuild,
  assertSameFiles,
  compile,
  filesOf,
  folder,
  hashesOf,
  opened,
  Platform,
  stepsOf
} from "./Build.ts"
import { writeCheckpoint } from "./Checkpoint.ts"

/** Even layers in 8 bits, odd ones in 4 for answers and as they are for prompts. */
const config = `def get_layer_configuration(model, layer):
    if layer["index"] % 2 == 0:
        return {"precision": "A_BF16_W_INT8"}
    return {"precision": "BF16" if layer["is_group"] else "A_BF16_W_INT4"}
`

interface Source {
  readonly modelPath: string
  readonly configurationFile: string
  readonly jobs: number
}

/** A checkpoint that takes long enough to be stopped in, and a build of it that nothing disturbed. */
class Whole extends Context.Service<Whole, { readonly asked: Source; readonly out: string }>()("test/e2e/Whole") {}

const program = join(import.meta.dirname, "../../src/bin/llima-compile.ts")

/** Numbers of 0 to 1 from a seed. */
const numbersFrom = (seed: number) => {
  let state = seed
  return () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0
    return state / 2 ** 32
  }
}

/** Runs the program until the output folder has as many files, sends the signal, and waits for the end. */
const stopped = (args: ReadonlyArray<string>, out: string, files: number, signal: "SIGKILL" | "SIGINT") =>
  Effect.promise(async () => {
    const child = spawn(process.execPath, [program, ...args, "-o", out], { stdio: ["ignore", "ignore", "pipe"] })
    let stderr = ""
    child.stderr.on("data", (text) => stderr += String(text))
    const ended = new Promise<number | null>((resolve) => child.on("close", resolve))
    while (child.exitCode === null && countFiles(out) < files) await setImmediate()
    child.kill(signal)
    return { code: await ended, stderr }
  })

/** Files so far; one that goes while it is looked at counts as none. */
const countFiles = (out: string): number => {
  try {
    return filesOf(out).length
  } catch {
    return 0
  }
}

/** What a stopped build has under a file's own name is what the whole build has there. */
const assertWhole = (output: string, out: string) => {
  const whole = hashesOf(out)
  const names = Object.entries(hashesOf(output)).filter(([name]) =>
    !name.includes(".tmp-") && !name.startsWith(".llima")
  )
  assert.deepStrictEqual(names.filter(([name, hash]) => hash !== whole[name]), [])
}

const finishedSteps = (out: string): ReadonlyArray<string> =>
  filesOf(join(out, ".llima/steps"))
    .filter((name) => name.endsWith(".json"))
    .map((name) => decodeURIComponent(name.slice(0, -".json".length)))
    .sort()

const large = Layer.effect(
  Whole,
  Effect.gen(function*() {
    const root = yield* folder
    const modelPath = writeCheckpoint(join(root, "model"), { layers: 12, hidden: 256, intermediate: 512, seed: 9 })
    const configurationFile = join(root, "config.py")
    writeFileSync(configurationFile, config)
    const asked = { modelPath, configurationFile, jobs: 2 }
    const out = join(root, "whole")
    const { steps } = yield* compile({ ...asked, output: out })
    assert.strictEqual(steps.length, 3 + 3 * 12)
    return { asked, out }
  })
).pipe(Layer.provideMerge(Platform))

const args = ({ configurationFile, modelPath }: Source) => [modelPath, "-c", configurationFile, "-j", "2"]

const seed = Number(process.env["LLIMA_TEST_SEED"] ?? Date.now() % 1_000_000)
const random = numbersFrom(seed)
/** Shares of the files; what is left then takes longer than a signal does. */
const moments = Array.from({ length: 5 }, () => 0.7 * random())

describe(`a build that was stopped (LLIMA_TEST_SEED=${seed})`, () => {
  layer(large, { excludeTestServices: true, timeout: 30_000 })((it) => {
    it.effect.each(moments)(
      "by kill -9 at %s of its files goes on with --resume, and nobody can tell",
      (moment) =>
        Effect.gen(function*() {
          const { asked, out } = yield* Whole
          const root = yield* folder
          const output = join(root, "out")
          const files = 1 + Math.floor(moment * filesOf(out).length)
          const { code } = yield* stopped(args(asked), output, files, "SIGKILL")
          assert.strictEqual(code, null)
          const finished = finishedSteps(output)
          const { kept, made } = stepsOf(yield* compile({ ...asked, output, resume: true }))
          assert.deepStrictEqual(kept, finished)
          assert.isAbove(made.length, 0)
          assertSameBuild(output, out)
          assertSameFiles(join(output, "onnx_files"), join(out, "onnx_files"))
          assert.deepStrictEqual(filesOf(output), filesOf(out))
        }).pipe(Effect.scoped),
      30_000
    )

    it.effect(
      "by Ctrl-C leaves with 130 and no half file, says how to go on, and goes on",
      () =>
        Effect.gen(function*() {
          const { asked, out } = yield* Whole
          const output = join(yield* folder, "out")
          const { code, stderr } = yield* stopped(args(asked), output, filesOf(out).length >> 1, "SIGINT")
          assert.strictEqual(code, 130, stderr)
          assert.include(stderr, "--resume")
          assert.deepStrictEqual(filesOf(output).filter((file) => file.includes(".tmp-")), [])
          assert.isFalse(filesOf(output).includes(".llima/lock"))
          assertWhole(output, out)
          const finished = finishedSteps(output)
          assert.isAbove(finished.length, 0)
          const { kept, made } = stepsOf(yield* compile({ ...asked, output, resume: true }))
          assert.deepStrictEqual(kept, finished)
          assert.isAbove(made.length, 0)
          assertSameBuild(output, out)
        }).pipe(Effect.scoped),
      30_000
    )

    it.effect("and was resumed runs", () =>
      Effect.gen(function*() {
        const { out } = yield* Whole
        const { ids } = yield* answer(yield* opened(out), { ids: [5, 6, 7], maxNewTokens: 3, ignoreEos: true })
        assert.strictEqual(ids.length, 3)
      }).pipe(Effect.scoped))
  })
})
