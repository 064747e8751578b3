import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { makeThread } from "../../src/verify/Thread.ts"

const slow = new URL("./slow.worker.ts", import.meta.url)

describe("makeThread", () => {
  it.live("answers questions in their order", () =>
    Effect.gen(function*() {
      const marks = new SharedArrayBuffer(4)
      const ask = yield* makeThread<string, string>(slow, marks)
      const answers = yield* Effect.forEach(["a", "b"], (question) => ask(question), { concurrency: 2 })
      assert.deepStrictEqual(answers, ["a", "b"])
    }))

  it.live("lets the thread finish what it is at when its scope closes", () =>
    Effect.gen(function*() {
      const marks = new SharedArrayBuffer(4)
      yield* Effect.scoped(Effect.gen(function*() {
        const ask = yield* makeThread<string, string>(slow, marks)
        yield* ask("first")
        yield* Effect.timeoutOption(ask("second"), "50 millis")
      }))
      assert.strictEqual(new Int32Array(marks)[0], 2)
    }))
})
