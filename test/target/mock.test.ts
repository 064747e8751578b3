import { assert, describe, it } from "@effect/vitest"
import { Effect, Fiber } from "effect"
import { TestClock } from "effect/testing"
import type { Graph } from "../../src/onnx/Graph.ts"
import { MockTarget } from "../../src/target/mock.ts"
import { Target, TargetError } from "../../src/target/Target.ts"

const graph: Graph = { name: "empty", opset: 23, nodes: [], initializers: [], inputs: [], outputs: [], metadata: {} }
const part = (name: string) => ({ name, graph, folder: "nowhere" })
const compile = (name: string) => Effect.flatMap(Target, (target) => target.compile(part(name)))
const calls = Effect.flatMap(MockTarget, (mock) => mock.calls)

describe("MockTarget", () => {
  it.effect("compiles at once without a script; the program is the part's name", () =>
    Effect.gen(function*() {
      const program = yield* compile("abc")
      const expected = new TextEncoder().encode("abc".repeat(22).slice(0, 64))
      assert.deepStrictEqual(program, { kind: "binary", name: "abc", extension: "bin", bytes: expected })
      assert.deepStrictEqual(yield* calls, [
        { part: "abc", attempt: 1, outcome: "succeeded", began: 0, ended: 0, running: 1, memory: 0 }
      ])
    }).pipe(Effect.provide(MockTarget.layer())))

  it.effect("says that its shapes are what it was told", () =>
    Effect.gen(function*() {
      assert.deepStrictEqual((yield* Target).facts, { name: "mock", shapes: "fixed" })
    }).pipe(Effect.provide(MockTarget.layer({ shapes: "fixed" }))))

  it.effect("takes its time and holds memory meanwhile", () =>
    Effect.gen(function*() {
      const mock = yield* MockTarget
      const fiber = yield* Effect.forkChild(Effect.all([compile("a"), compile("b")], { concurrency: 2 }))
      yield* mock.running(2)
      assert.deepStrictEqual(yield* mock.calls, [])
      yield* TestClock.adjust("3 seconds")
      yield* Fiber.join(fiber)
      yield* Effect.andThen(Effect.forkChild(compile("c")), TestClock.adjust("3 seconds"))
      assert.deepStrictEqual(
        (yield* mock.calls).map(({ began, ended, memory, running }) => [began, ended, running, memory]),
        [[0, 2000, 1, 100], [0, 2000, 2, 200], [3000, 5000, 1, 100]]
      )
    }).pipe(Effect.provide(MockTarget.layer({ behaviour: () => ({ delay: "2 seconds", memory: 100 }) }))))

  it.effect("fails as often as it was told, with what a retry may expect", () =>
    Effect.gen(function*() {
      const first = yield* Effect.flip(compile("busy"))
      const second = yield* Effect.flip(compile("busy"))
      yield* compile("busy")
      const broken = yield* Effect.flip(compile("broken"))
      assert.instanceOf(first, TargetError)
      assert.deepStrictEqual([first, second, broken].map(({ part, retry }) => [part, retry]), [
        ["busy", "same"],
        ["busy", "same"],
        ["broken", "never"]
      ])
      assert.deepStrictEqual(
        (yield* calls).map(({ attempt, outcome, part }) => `${part} ${attempt} ${outcome}`),
        ["busy 1 failed", "busy 2 failed", "busy 3 succeeded", "broken 1 failed"]
      )
    }).pipe(Effect.provide(MockTarget.layer({
      behaviour: (name) => ({
        failure: name === "busy" ? { kind: "transient", times: 2 } : { kind: "permanent" }
      })
    }))))

  it.effect("records an interruption, and holds nothing after it", () =>
    Effect.gen(function*() {
      const mock = yield* MockTarget
      const fiber = yield* Effect.forkChild(compile("a"))
      yield* mock.running(1)
      yield* Fiber.interrupt(fiber)
      yield* Effect.andThen(Effect.forkChild(compile("b")), mock.running(1))
      yield* TestClock.adjust("1 second")
      assert.deepStrictEqual(
        (yield* mock.calls).map(({ memory, outcome, running }) => [outcome, running, memory]),
        [["interrupted", 1, 7], ["succeeded", 1, 7]]
      )
    }).pipe(Effect.provide(MockTarget.layer({ behaviour: () => ({ delay: "1 second", memory: 7 }) }))))

  it.effect("puts every program into the archive, and remembers which", () =>
    Effect.gen(function*() {
      const target = yield* Target
      const programs = yield* Effect.forEach(["a", "b"], compile)
      const entries = yield* target.link("layer_0", programs)
      assert.deepStrictEqual(entries.map(({ name }) => name), ["a.bin", "b.bin"])
      assert.deepStrictEqual(yield* (yield* MockTarget).links, [{ layer: "layer_0", parts: ["a", "b"] }])
    }).pipe(Effect.provide(MockTarget.layer())))
})
