import { assert, describe, it, layer } from "@effect/vitest"
import { Effect } from "effect"
import { PROCESS_MEMORY } from "../../src/plan/Plan.ts"
import { outlookOf, peakMemory, shortfall } from "../../src/stage/Outlook.ts"
import { plan as planFor, Platform } from "../e2e/Build.ts"
import { requestFor } from "../testing/Build.ts"

const MIB = 2 ** 20

describe("peakMemory", () => {
  const todo = [100, 20 * MIB, 10 * MIB].map((memory) => ({ memory, stage: "COMPILE" as const }))
  it("counts the process, and the largest steps that run together within the limit", () => {
    const limits = { jobs: 2, maxMemory: 2 ** 30 }
    assert.strictEqual(peakMemory(todo, limits), PROCESS_MEMORY + 30 * MIB)
    assert.strictEqual(peakMemory(todo, { ...limits, jobs: 1 }), PROCESS_MEMORY + 20 * MIB)
    assert.strictEqual(peakMemory(todo, { ...limits, maxMemory: PROCESS_MEMORY + 25 * MIB }), PROCESS_MEMORY + 25 * MIB)
    assert.strictEqual(peakMemory(todo, { ...limits, maxMemory: PROCESS_MEMORY + 5 }), PROCESS_MEMORY + 20 * MIB)
    assert.strictEqual(peakMemory([], limits), PROCESS_MEMORY)
  })
  it("does not add verifying to what has ended before it", () => {
    const limits = { jobs: 2, maxMemory: 2 ** 30 }
    const verify = (memory: number) => peakMemory([...todo, { memory, stage: "VERIFY" }], limits)
    assert.strictEqual(verify(25 * MIB), PROCESS_MEMORY + 30 * MIB)
    assert.strictEqual(verify(90 * MIB), PROCESS_MEMORY + 90 * MIB)
  })
})

const nothing = () => Effect.succeed(false)
const all = () => Effect.succeed(true)

layer(Platform)("outlookOf", (it) => {
  it.effect("has everything to do in an empty folder", () =>
    Effect.gen(function*() {
      const plan = yield* planFor(yield* requestFor({ layers: 2 }, {}))
      const { kept, lacking, todo } = yield* outlookOf(plan, nothing)
      assert.deepStrictEqual([todo.length, kept.size, lacking], [plan.steps.length, 0, []])
    }))

  it.effect("keeps what is finished with --resume, and only then", () =>
    Effect.gen(function*() {
      const request = yield* requestFor({ layers: 2 }, {})
      const again = yield* outlookOf(yield* planFor(request), all)
      const resumed = yield* outlookOf(yield* planFor({ ...request, resume: true }), all)
      assert.strictEqual(again.kept.size, 0)
      assert.strictEqual(resumed.todo.length, 0)
    }))

  it.effect("names the stages that the ones asked for leave missing", () =>
    Effect.gen(function*() {
      const request = yield* requestFor({ layers: 2 }, { stages: ["onnx"] })
      const { lacking, todo } = yield* outlookOf(yield* planFor(request), nothing)
      assert.deepStrictEqual([...new Set(todo.map(({ stage }) => stage))], ["ONNX"])
      assert.deepStrictEqual(lacking, ["DEVKIT", "QUANTIZE", "COMPILE"])
    }))

  it.effect("refuses a build that the disk or the memory limit cannot hold, and says what can be done", () =>
    Effect.gen(function*() {
      const request = yield* requestFor({ layers: 2 }, { verify: "quick", maxMemory: 200 * MIB })
      const plan = yield* planFor(request)
      const outlook = yield* outlookOf(plan, nothing)
      assert.match(shortfall(plan, outlook, "out", 10)?.message ?? "", /^not enough disk: out needs/)
      assert.match(
        shortfall(plan, outlook, "out", 2 ** 40)?.message ?? "",
        /^not enough memory: comparing the build with the float model .* --verify none, which needs 192 MiB$/
      )
      assert.isUndefined(shortfall(plan, { ...outlook, todo: [] }, "out", 0))
    }))
})
