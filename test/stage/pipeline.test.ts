import { assert, describe, it } from "@effect/vitest"
import { Deferred, Effect, Exit, Fiber, Ref } from "effect"
import { TestClock } from "effect/testing"
import { StepsFailed, walk } from "../../src/stage/Pipeline.ts"

const step = (id: string, needs: ReadonlyArray<string> = [], memory = 0) => ({ id, needs, memory })
const limits = { jobs: 2, memory: 8 * 2 ** 20 }

/** Runs `steps` for one second each and gives the order of beginnings and the largest number at once. */
const timed = (steps: ReadonlyArray<ReturnType<typeof step>>, budget: typeof limits) =>
  Effect.gen(function*() {
    const order: Array<string> = []
    let running = 0
    let most = 0
    const fiber = yield* Effect.forkChild(walk(steps, budget, ({ id }) =>
      Effect.gen(function*() {
        order.push(id)
        most = Math.max(most, ++running)
        yield* Effect.sleep("1 second")
        running--
        return id
      })))
    yield* TestClock.adjust(`${steps.length} seconds`)
    return { order, most, results: yield* Fiber.join(fiber) }
  })

const failed = (exitCode: number): string =>
  new StepsFailed({ failures: [{ step: "a", message: "a broke", exitCode }], skipped: 1 }).message

describe("walk", () => {
  it.effect("runs at most `jobs` steps at once and gives results in plan order", () =>
    Effect.gen(function*() {
      const { most, results } = yield* timed(["a", "b", "c", "d", "e"].map((id) => step(id)), limits)
      assert.strictEqual(most, 2)
      assert.deepStrictEqual(results, ["a", "b", "c", "d", "e"])
    }))

  it.effect("begins a step only after those that it needs", () =>
    Effect.gen(function*() {
      const { order } = yield* timed([step("c", ["b"]), step("b", ["a"]), step("a")], limits)
      assert.deepStrictEqual(order, ["a", "b", "c"])
    }))

  it.effect("keeps the steps' memory within the limit", () =>
    Effect.gen(function*() {
      const big = ["a", "b", "c"].map((id) => step(id, [], 5 * 2 ** 20))
      assert.strictEqual((yield* timed(big, { jobs: 3, memory: 8 * 2 ** 20 })).most, 1)
      assert.strictEqual((yield* timed(big, { jobs: 3, memory: 10 * 2 ** 20 })).most, 2)
    }))

  it.effect("lets running steps end after a failure, begins no new one, and reports every failure", () =>
    Effect.gen(function*() {
      const ended = yield* Ref.make<ReadonlyArray<string>>([])
      const run = ({ id }: { readonly id: string }) =>
        Effect.gen(function*() {
          yield* Effect.sleep(id === "a" ? "1 second" : "2 seconds")
          if (id === "a" || id === "b") return yield* Effect.fail({ message: `${id} broke` })
          yield* Ref.update(ended, (all) => [...all, id])
        })
      const fiber = yield* Effect.forkChild(Effect.flip(walk(["a", "b", "c", "d"].map((id) => step(id)), limits, run)))
      yield* TestClock.adjust("10 seconds")
      const error = yield* Fiber.join(fiber)
      assert.instanceOf(error, StepsFailed)
      assert.deepStrictEqual(error.failures.map(({ message }) => message), ["a broke", "b broke"])
      assert.strictEqual(error.skipped, 2)
      assert.deepStrictEqual(yield* Ref.get(ended), [])
      assert.include(error.message, "2 steps were not begun; finished ones are kept, --resume goes on from here")
    }))

  it("counts one step as one, and does not promise to go on where an input is bad", () => {
    assert.include(failed(7), "1 step was not begun; finished ones are kept")
    assert.include(failed(3), "1 step was not begun; put that right and run again")
    assert.notInclude(failed(3), "goes on from here")
  })

  it.effect("interrupts running steps when it is interrupted", () =>
    Effect.gen(function*() {
      const begun = yield* Deferred.make<void>()
      const stopped = yield* Ref.make(false)
      const fiber = yield* Effect.forkChild(walk([step("a")], limits, () =>
        Deferred.succeed(begun, undefined).pipe(
          Effect.andThen(Effect.never),
          Effect.onInterrupt(() => Ref.set(stopped, true))
        )))
      yield* Deferred.await(begun)
      yield* Fiber.interrupt(fiber)
      assert.isTrue(yield* Ref.get(stopped))
      assert.isTrue(Exit.isFailure(yield* Fiber.await(fiber)))
    }))
})
