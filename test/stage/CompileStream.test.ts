import { NodeServices } from "@effect/platform-node"
import { assert, describe, layer } from "@effect/vitest"
import { Effect, Fiber, Layer, Queue, Stream } from "effect"
import { type CompileEvent, compileStream, type ProgressStage, servicesFor, StepsFailed } from "../../src/index.ts"
import { MockTarget } from "../../src/testing.ts"
import { requestFor } from "../testing/Build.ts"

/** Sum of what a stage advanced by. */
const advanced = (events: ReadonlyArray<CompileEvent>, stage: string) =>
  events.reduce((sum, event) => event._tag === "Advanced" && event.stage === stage ? sum + event.amount : sum, 0)

const planned = (events: ReadonlyArray<CompileEvent>): ReadonlyArray<ProgressStage> =>
  events.flatMap((event) => event._tag === "Planned" ? event.stages : [])

layer(NodeServices.layer)("compileStream", (it) => {
  describe("a build that succeeds", () => {
    it.effect("is planned first, advances by what was planned, and finishes with the report", () =>
      Effect.gen(function*() {
        const request = yield* requestFor({}, { target: "mock" })
        const events = yield* Stream.runCollect(compileStream(request)).pipe(Effect.provide(servicesFor(request)))
        assert.strictEqual(events[0]?._tag, "Planned")
        assert.deepStrictEqual(planned(events).map(({ name }) => name), ["DEVKIT", "ONNX", "QUANTIZE", "COMPILE"])
        for (const { name, total } of planned(events)) assert.strictEqual(advanced(events, name), total, name)
        const done = events.flatMap((event) => event._tag === "Done" ? [event.stage] : [])
        assert.deepStrictEqual([...done].sort(), ["COMPILE", "DEVKIT", "ONNX", "QUANTIZE"])
        const last = events.at(-1)
        assert.strictEqual(last?._tag === "Finished" ? last.report.archives : 0, 2)
      }))

    it.effect("says of what it kept that it kept it", () =>
      Effect.gen(function*() {
        const request = yield* requestFor({}, { target: "mock" })
        const all = Stream.runCollect(compileStream({ ...request, resume: true })).pipe(
          Effect.provide(servicesFor(request))
        )
        yield* all
        const events = yield* all
        const reused = events.flatMap((event) => event._tag === "Advanced" ? [event.reused] : [])
        assert.isNotEmpty(reused)
        assert.isTrue(reused.every((kept) => kept))
      }))
  })

  it.effect("fails as the build does, after all that happened before", () =>
    Effect.gen(function*() {
      const request = yield* requestFor()
      const broken = MockTarget.layer({ behaviour: () => ({ failure: { kind: "permanent" } }) })
      const seen: Array<CompileEvent> = []
      const error = yield* compileStream(request).pipe(
        Stream.runForEach((event) => Effect.sync(() => seen.push(event))),
        Effect.provide(Layer.merge(servicesFor(request), broken)),
        Effect.flip
      )
      assert.instanceOf(error, StepsFailed)
      assert.strictEqual(seen[0]?._tag, "Planned")
      assert.isAbove(advanced(seen, "QUANTIZE"), 0)
      assert.isFalse(seen.some(({ _tag }) => _tag === "Finished"))
    }))

  it.effect("interrupts the build when nobody listens any more", () =>
    Effect.gen(function*() {
      const request = yield* requestFor()
      const target = MockTarget.layer({ behaviour: () => ({ delay: "1 hour" }) })
      yield* Effect.gen(function*() {
        const mock = yield* MockTarget
        const first = yield* Queue.unbounded<CompileEvent>()
        const fiber = yield* Effect.forkChild(
          Stream.runForEach(compileStream(request), (event) => Queue.offer(first, event))
        )
        assert.strictEqual((yield* Queue.take(first))._tag, "Planned")
        yield* mock.running(2)
        yield* Fiber.interrupt(fiber)
        assert.deepStrictEqual((yield* mock.calls).map(({ outcome }) => outcome), ["interrupted", "interrupted"])
      }).pipe(Effect.provide(Layer.provideMerge(target, servicesFor(request))))
    }))
})
