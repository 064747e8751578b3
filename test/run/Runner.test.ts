import * as NodeServices from "@effect/platform-node/NodeServices"
import { assert, layer } from "@effect/vitest"
import { Effect, FileSystem, Layer, Runtime as EffectRuntime, Stream } from "effect"
import { w4 } from "../../src/quantize/scheme/w4.ts"
import { w8 } from "../../src/quantize/scheme/w8.ts"
import type { Event } from "../../src/run/Generator.ts"
import { open, type Runner } from "../../src/run/Runner.ts"
import { caseNames } from "../arch/Case.ts"
import { buildCase, type BuildOptions, BuildServices } from "./Build.ts"

const eventsOf = (runner: Runner, request: Parameters<Runner["generate"]>[0]) =>
  Stream.runCollect(runner.generate(request))

const idsOf = (events: ReadonlyArray<Event>) => events.flatMap((event) => event.kind === "token" ? [event.id] : [])

const endOf = (events: ReadonlyArray<Event>) => {
  const last = events.at(-1)
  return last?.kind === "end" ? last : undefined
}

/** A test build, opened on two threads. */
const opened = Effect.fnUntraced(function*(name: string, options: BuildOptions = {}) {
  const build = yield* buildCase(name, options)
  return { ...build, runner: yield* open(build.out, { cache: build.cache, threads: 1 }) }
})

const advice = "expected the output folder of a finished build: give the OUT of `llima-compile MODEL -o OUT`"

const largestDifference = (found: ReadonlyArray<Float32Array>, expected: Float32Array): number => {
  const all = found.flatMap((rows) => Array.from(rows))
  assert.strictEqual(all.length, expected.length)
  return Math.max(...all.map((value, i) => Math.abs(value - (expected[i] ?? NaN))))
}

layer(Layer.mergeAll(NodeServices.layer, BuildServices), { excludeTestServices: true })("open", (it) => {
  it.effect.each(caseNames.map((name) => ({ name })))(
    "generates what transformers does: $name",
    ({ name }) =>
      Effect.gen(function*() {
        const { runner, test } = yield* opened(name)
        for (const prompt of ["short", "long"] as const) {
          const { ids, new_ids } = test.prompts[prompt]
          const events = yield* eventsOf(runner, { ids, maxNewTokens: new_ids.length, ignoreEos: true, logits: true })
          assert.deepStrictEqual(idsOf(events), [...new_ids], prompt)
          const rows = events.flatMap((event) => event.kind === "logits" ? event.rows : [])
          assert.isAtMost(
            largestDifference(rows, test.array(`logits_${prompt}`).data),
            test.tolerance,
            `${prompt} logits`
          )
          // without logits nothing but the last row of the prompt is asked for
          const again = yield* eventsOf(runner, { ids, maxNewTokens: new_ids.length, ignoreEos: true })
          assert.deepStrictEqual(idsOf(again), [...new_ids], `${prompt} again`)
        }
      }).pipe(Effect.scoped)
  )

  const name = "llama-tied-rope-llama3"

  it.effect("gives the same from a build that returns logits", () =>
    Effect.gen(function*() {
      const { runner, test } = yield* opened(name, { returnLogits: true })
      const { ids, new_ids } = test.prompts.short
      assert.deepStrictEqual(
        idsOf(yield* eventsOf(runner, { ids, maxNewTokens: 8, ignoreEos: true })),
        new_ids.slice(0, 8)
      )
    }).pipe(Effect.scoped))

  it.effect("runs two sessions over the same caches where group and single programs differ", () =>
    Effect.gen(function*() {
      const { runner, test } = yield* opened(name, {
        change: (program, graph) =>
          program === "single_post_1"
            ? { ...graph, nodes: graph.nodes.map((node) => ({ ...node, name: `${node.name}_single` })) }
            : graph
      })
      const { ids, new_ids } = test.prompts.long
      assert.deepStrictEqual(
        idsOf(yield* eventsOf(runner, { ids, maxNewTokens: 12, ignoreEos: true })),
        new_ids.slice(0, 12)
      )
    }).pipe(Effect.scoped))

  it.effect.each(
    ["llama-bias", "mistral-sliding", "qwen3", "lfm2"].flatMap((model) => [w4, w8].map((scheme) => ({ model, scheme })))
  )(
    "gives what the quantised graphs mean: $model, $scheme.name",
    ({ model, scheme }) =>
      Effect.gen(function*() {
        const logitsOf = Effect.fnUntraced(function*(options: BuildOptions) {
          const { cache, out, test } = yield* buildCase(model, { ...options, scheme })
          const runner = yield* open(out, { cache, threads: 1, exact: true })
          const { ids } = test.prompts.long
          const events = yield* eventsOf(runner, { ids, maxNewTokens: 12, ignoreEos: true, logits: true })
          const rows = events.flatMap((event) => event.kind === "logits" ? event.rows : [])
          return { rows, ids: idsOf(events), test }
        })
        const plain = yield* logitsOf({ lowered: false })
        const lowered = yield* logitsOf({})
        const whole = Float32Array.from(plain.rows.flatMap((rows) => Array.from(rows)))
        // float32 sums in another order: the case's own tolerance
        assert.isAtMost(largestDifference(lowered.rows, whole), plain.test.tolerance)
        assert.isAbove(largestDifference(lowered.rows, plain.test.array("logits_long").data), plain.test.tolerance)
        assert.deepStrictEqual(lowered.ids, plain.ids)
      }).pipe(Effect.scoped)
  )

  it.effect.each([{ model: name }, { model: "mistral-sliding" }, { model: "lfm2" }])(
    "gives the same when cache rows are copied: $model",
    ({ model }) =>
      Effect.gen(function*() {
        const { cache, out, test } = yield* buildCase(model)
        const runner = yield* open(out, { cache, threads: 1, copyCaches: true })
        for (const { ids, new_ids } of [test.prompts.short, test.prompts.long]) {
          assert.deepStrictEqual(
            idsOf(yield* eventsOf(runner, { ids, maxNewTokens: 20, ignoreEos: true })),
            new_ids.slice(0, 20)
          )
        }
      }).pipe(Effect.scoped)
  )

  it.effect("keeps what two prompts share, and gives the same", () =>
    Effect.gen(function*() {
      const { runner, test } = yield* opened("mistral-sliding")
      const { ids, new_ids } = test.prompts.long
      const first = yield* eventsOf(runner, { ids: [...ids.slice(0, 30), 5, 6, 7], maxNewTokens: 4, ignoreEos: true })
      assert.strictEqual(endOf(first)?.timings.promptRun, 33)
      const second = yield* eventsOf(runner, { ids, maxNewTokens: 6, ignoreEos: true })
      assert.strictEqual(endOf(second)?.timings.promptRun, ids.length - 30)
      assert.deepStrictEqual(idsOf(second), new_ids.slice(0, 6))
    }).pipe(Effect.scoped))

  it.effect("stops at the wished number, at an end token and at the end of the context", () =>
    Effect.gen(function*() {
      const { runner, test } = yield* opened(name, { maxNumTokens: 12 })
      const { ids, new_ids } = test.prompts.short
      assert.strictEqual(endOf(yield* eventsOf(runner, { ids, maxNewTokens: 2, ignoreEos: true }))?.stop, "length")
      const full = yield* eventsOf(runner, { ids, maxNewTokens: 50, ignoreEos: true })
      assert.strictEqual(endOf(full)?.stop, "context")
      assert.deepStrictEqual(idsOf(full), new_ids.slice(0, 12 - ids.length))
      assert.strictEqual(endOf(full)?.timings.newTokens, 12 - ids.length)
      const error = yield* Effect.flip(eventsOf(runner, { ids: [...ids, ...ids], maxNewTokens: 1 }))
      assert.strictEqual(error.reason._tag, "PromptTooLong")
      assert.include(error.message, "14 tokens")
      assert.strictEqual(error[EffectRuntime.errorExitCode], 3)
    }).pipe(Effect.scoped))

  it.effect("refuses tokens that the model does not have", () =>
    Effect.gen(function*() {
      const { runner } = yield* opened(name)
      const error = yield* Effect.flip(eventsOf(runner, { ids: [1, 999_999], maxNewTokens: 1 }))
      assert.strictEqual(error.reason._tag, "PromptInvalid")
      assert.include(error.message, "999999")
      const empty = yield* Effect.flip(eventsOf(runner, { ids: [], maxNewTokens: 1 }))
      assert.include(empty.message, "at least one token")
    }).pipe(Effect.scoped))

  it.effect("draws the same tokens from the same seed, and others from another", () =>
    Effect.gen(function*() {
      const { runner, test } = yield* opened(name)
      const draw = (seed: number) =>
        Effect.map(
          eventsOf(runner, {
            ids: test.prompts.short.ids,
            maxNewTokens: 16,
            ignoreEos: true,
            sampling: { temperature: 4, topK: 0, topP: 1, seed }
          }),
          idsOf
        )
      assert.deepStrictEqual(yield* draw(1), yield* draw(1))
      assert.notDeepEqual(yield* draw(1), yield* draw(2))
    }).pipe(Effect.scoped))

  it.effect("names the programs that the configuration left out", () =>
    Effect.gen(function*() {
      const { cache, out } = yield* buildCase(name, { without: ["single_cache_1", "single_post_1"] })
      const error = yield* Effect.flip(Effect.scoped(open(out, { cache, threads: 1 })))
      assert.strictEqual(error.reason._tag, "ProgramsMissing")
      assert.include(error.message, "the build has no CACHE and POST of layer 1, decode; the configuration file")
      assert.include(error.message, "left them out")
    }).pipe(Effect.scoped))

  it.effect("says what to do about a folder that is no build", () =>
    Effect.gen(function*() {
      const fs = yield* FileSystem.FileSystem
      const out = yield* fs.makeTempDirectoryScoped()
      const error = yield* Effect.flip(Effect.scoped(open(out)))
      assert.strictEqual(
        error.message,
        `${out}: the folder holds no build (no sima_files/devkit/runtime.json); ${advice}`
      )
      const nowhere = yield* Effect.flip(Effect.scoped(open(`${out}/nope`)))
      assert.strictEqual(nowhere.message, `${out}/nope: there is no such file or folder; ${advice}`)
      yield* fs.writeFileString(`${out}/file`, "")
      const file = yield* Effect.flip(Effect.scoped(open(`${out}/file`)))
      assert.strictEqual(file.message, `${out}/file: it is a file, not a folder; ${advice}`)
    }).pipe(Effect.scoped))

  it.effect("names the target of a build for other hardware", () =>
    Effect.gen(function*() {
      const fs = yield* FileSystem.FileSystem
      const { cache, out } = yield* buildCase(name)
      yield* fs.writeFileString(`${out}/build.json`, JSON.stringify({ request: { target: "mock" } }))
      const error = yield* Effect.flip(Effect.scoped(open(out, { cache, threads: 1 })))
      assert.include(error.message, `${out}: built for the target mock, whose programs do not run on this machine`)
      assert.include(error.message, "--target host")
    }).pipe(Effect.scoped))

  it.effect.each<readonly [string, string]>([
    ["{\"format\": 1,", "the file: expected JSON, found "],
    ["{\"format\": 2}", "format: expected 1, found 2;"],
    ["{\"format\": 1}", "its content: expected format 1, found Missing key at [\"family\"];"]
  ])("says in one line what is wrong with the runtime.json %s", ([text, expected]) =>
    Effect.gen(function*() {
      const fs = yield* FileSystem.FileSystem
      const { cache, out } = yield* buildCase(name)
      yield* fs.writeFileString(`${out}/sima_files/devkit/runtime.json`, text)
      const { message } = yield* Effect.flip(Effect.scoped(open(out, { cache, threads: 1 })))
      assert.include(message, expected)
      assert.notInclude(message, "\n")
      assert.include(message, "`llima-compile MODEL -o OUT --resume`, with the options of the build, makes again")
    }).pipe(Effect.scoped))

  it.effect("unpacks an archive once, and again when it has changed", () =>
    Effect.gen(function*() {
      const fs = yield* FileSystem.FileSystem
      const { cache, out } = yield* buildCase(name)
      yield* Effect.scoped(open(out, { cache, threads: 1 }))
      const unpacked = yield* fs.readDirectory(cache, { recursive: true })
      yield* Effect.scoped(open(out, { cache, threads: 1 }))
      assert.deepStrictEqual(yield* fs.readDirectory(cache, { recursive: true }), unpacked)
      const archive = `${out}/sima_files/mpk/layer_0.tar.gz`
      yield* fs.writeFile(archive, (yield* fs.readFile(archive)).slice(0, -1000))
      const error = yield* Effect.flip(Effect.scoped(open(out, { cache, threads: 1 })))
      assert.include(error.message, "layer_0.tar.gz")
      assert.strictEqual(error.reason._tag, "Damaged")
    }).pipe(Effect.scoped))
})
