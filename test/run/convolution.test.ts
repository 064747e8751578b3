import * as NodeServices from "@effect/platform-node/NodeServices"
import { assert, describe, it, layer } from "@effect/vitest"
import { Effect, Layer, Stream } from "effect"
import type { Event } from "../../src/run/Generator.ts"
import { open, type Runner } from "../../src/run/Runner.ts"
import { marked, States } from "../../src/run/States.ts"
import { readCase } from "../arch/Case.ts"
import { buildCase, type BuildOptions, BuildServices } from "./Build.ts"

const { prompts: { long, short } } = readCase("lfm2")

const opened = Effect.fnUntraced(function*(options: BuildOptions = {}) {
  const { cache, out } = yield* buildCase("lfm2", options)
  return yield* open(out, { cache, threads: 1 })
})

/** Ids that follow a prompt, and how many of its tokens were run. */
const answer = Effect.fnUntraced(function*(
  runner: Runner,
  ids: ReadonlyArray<number>,
  maxNewTokens: number,
  logits = false
) {
  const events: ReadonlyArray<Event> = yield* Stream.runCollect(
    runner.generate({ ids, maxNewTokens, ignoreEos: true, logits })
  )
  return {
    ids: events.flatMap((event) => event.kind === "token" ? [event.id] : []),
    run: events.flatMap((event) => event.kind === "end" ? [event.timings.promptRun] : [])[0]
  }
})

layer(Layer.mergeAll(NodeServices.layer, BuildServices), { excludeTestServices: true })("convolution layers", (it) => {
  // 40 tokens: single ones, last passes of 1 token and of fewer than the state has rows, one pass.
  it.effect.each([1, 3, 13, 39, 64].map((groupSize) => ({ groupSize })))(
    "carry their state from pass to pass: $groupSize tokens a pass",
    ({ groupSize }) =>
      Effect.gen(function*() {
        const runner = yield* opened({ groupSize })
        assert.deepStrictEqual((yield* answer(runner, long.ids, long.new_ids.length)).ids, [...long.new_ids])
        assert.deepStrictEqual((yield* answer(runner, short.ids, short.new_ids.length)).ids, [...short.new_ids])
      }).pipe(Effect.scoped)
  )

  it.effect("begin a prompt at the last pass whose tokens it shares, or where the sequence ended", () =>
    Effect.gen(function*() {
      const runner = yield* opened()
      const fresh = yield* opened()
      // passes end at 16, 32 and 33; 30 tokens are shared
      assert.strictEqual((yield* answer(runner, [...long.ids.slice(0, 30), 5, 6, 7], 4)).run, 33)
      assert.deepStrictEqual(yield* answer(runner, long.ids, 8), { ids: long.new_ids.slice(0, 8), run: 40 - 16 })
      // the last token of a prompt is always run: from 32
      assert.deepStrictEqual(yield* answer(runner, long.ids, 8), { ids: long.new_ids.slice(0, 8), run: 40 - 32 })
      // 47 tokens have been run: the last one that was chosen has not
      const more = [...long.ids, ...long.new_ids.slice(0, 8), 9, 8, 7]
      const continued = yield* answer(runner, more, 8)
      assert.strictEqual(continued.run, more.length - 47)
      assert.deepStrictEqual(continued.ids, (yield* answer(fresh, more, 8)).ids)
      assert.deepStrictEqual(yield* answer(runner, long.ids.slice(0, 33), 1), {
        ids: (yield* answer(fresh, long.ids.slice(0, 33), 1)).ids,
        run: 1
      })
      assert.deepStrictEqual(yield* answer(runner, short.ids, 8), { ids: short.new_ids.slice(0, 8), run: 7 })
      assert.strictEqual((yield* answer(runner, short.ids, 1, true)).run, 7)
    }).pipe(Effect.scoped))

  it.effect("keep a bounded number of states, and begin right at each of them", () =>
    Effect.gen(function*() {
      const runner = yield* opened({ groupSize: 1, maxNumTokens: 96 })
      const fresh = yield* opened({ maxNumTokens: 96 })
      const ids = [...long.ids, ...long.new_ids, ...long.ids.slice(0, 20)]
      yield* answer(runner, ids, 2)
      for (const length of [83, 60, 41, 12]) {
        const prompt = [...ids.slice(0, length), 1, 2]
        const { ids: found, run = 0 } = yield* answer(runner, prompt, 6)
        assert.isBelow(run, length, "something was kept")
        assert.deepStrictEqual(found, (yield* answer(fresh, prompt, 6)).ids, `${length} shared`)
      }
    }).pipe(Effect.scoped))
})

describe("marked", () => {
  it("keeps the last position and others that lie evenly before it", () => {
    const marks = Array.from({ length: 200 }, (_, i) => i + 1).reduce<ReadonlyArray<number>>(marked, [])
    assert.strictEqual(marks.length, 32)
    assert.strictEqual(marks.at(-1), 200)
    const gaps = marks.map((mark, i) => mark - (marks[i - 1] ?? 0))
    assert.isAtLeast(Math.min(...gaps), 1)
    assert.isAtMost(Math.max(...gaps), 16)
  })
})

/** What a pass gives as the state of a layer: one number throughout. */
const after = (value: number) => () => new Float32Array(6).fill(value)

describe("States", () => {
  const attention = { kind: "attention", width: 8, window: null } as const
  const convolution = { kind: "convolution", rows: 2, width: 3 } as const

  it("begin with zeros, of convolution layers only", () => {
    const states = new States([attention, convolution])
    assert.deepStrictEqual(states.at(0), [{ index: 1, shape: [2, 3], data: new Float32Array(6) }])
  })

  it("are there before and after the last pass and at marks, and nowhere else", () => {
    const states = new States([convolution])
    states.put(0, 4, [], after(4))
    states.put(4, 8, [4], after(8))
    states.put(8, 9, [4, 8], after(9))
    states.put(9, 10, [4], after(10))
    assert.deepStrictEqual([4, 9, 10].map((position) => states.at(position)[0]?.data[0]), [4, 9, 10])
    assert.throws(() => states.at(8), "the states after 8 tokens were not kept")
    // a pass that begins earlier leaves nothing of what came after
    states.put(4, 6, [4, 9], after(6))
    assert.throws(() => states.at(9))
    assert.deepStrictEqual([4, 6].map((position) => states.at(position)[0]?.data[0]), [4, 6])
  })

  it("refuse a pass that gives none", () => {
    assert.throws(() => new States([convolution]).put(0, 1, [], () => undefined), "layer 0 gave no state")
  })

  it("are no matter where there is no convolution", () => {
    const states = new States([attention])
    states.put(5, 6, [], () => undefined)
    assert.deepStrictEqual(states.at(3), [])
  })
})
