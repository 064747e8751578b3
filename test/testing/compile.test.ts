import { NodeServices } from "@effect/platform-node"
import { assert, layer } from "@effect/vitest"
import { Deferred, Effect, Fiber, FileSystem, Layer, Path, Runtime } from "effect"
import { TestClock } from "effect/testing"
import {
  Compiler,
  type CompileRequest,
  Kernels,
  Mpk,
  OutOfBudget,
  Progress,
  type Step,
  StepsFailed
} from "../../src/index.ts"
import { PROCESS_MEMORY } from "../../src/plan/Plan.ts"
import { Verifier } from "../../src/stage/Verifier.ts"
import { compilerTest, elapse, type MockBehaviour, MockTarget } from "../../src/testing.ts"
import { archiveOf, filesOf, requestFor } from "./Build.ts"

const MIB = 2 ** 20

/** Runs with a compiler over a new mock target. */
const scripted = (behaviour: (part: string) => MockBehaviour) =>
  Effect.provide(compilerTest(MockTarget.layer({ behaviour })))

const compile = (request: CompileRequest) => Effect.flatMap(Compiler, (compiler) => compiler.compile(request))
const record = Effect.flatMap(MockTarget, (mock) => mock.calls)
const failing = (error: unknown): Effect.Effect<StepsFailed> =>
  error instanceof StepsFailed ? Effect.succeed(error) : Effect.die(error)

/** The most that was ever under way at once. */
const most = (numbers: ReadonlyArray<number>) => Math.max(0, ...numbers)

/** Names of a layer's parts, in the order in which they are compiled. */
const partsOf = (index: number) =>
  ["group_pre", "group_cache", "group_post", "single_pre", "single_cache", "single_post"].map((part) =>
    `${part}_${index}`
  )

layer(NodeServices.layer)("a build on a scripted target", (it) => {
  it.effect("has as many compilations under way as there are jobs, and no more", () =>
    Effect.gen(function*() {
      const request = yield* requestFor({ layers: 5 }, { jobs: 3 })
      yield* Effect.gen(function*() {
        const mock = yield* MockTarget
        const fiber = yield* Effect.forkChild(compile(request))
        yield* mock.running(3)
        yield* elapse(Fiber.join(fiber))
        const calls = yield* mock.calls
        assert.strictEqual(calls.length, 30)
        assert.strictEqual(most(calls.map(({ running }) => running)), 3)
      }).pipe(scripted(() => ({ delay: "10 seconds" })))
    }))

  it.effect("runs no more steps at once than fit into the memory that it may take", () =>
    Effect.gen(function*() {
      const request = yield* requestFor({ layers: 4 }, { jobs: 8, maxMemory: PROCESS_MEMORY + 100 * MIB })
      yield* Effect.gen(function*() {
        const mock = yield* MockTarget
        const plan = yield* (yield* Compiler).plan(request)
        const step = plan.steps.find(({ stage }) => stage === "COMPILE")?.memory ?? 0
        // two fit, three do not
        assert.isAtMost(2 * step, 100 * MIB)
        assert.isAbove(3 * step, 100 * MIB)
        const fiber = yield* Effect.forkChild(compile(request))
        yield* mock.running(2)
        yield* elapse(Fiber.join(fiber))
        assert.strictEqual(most((yield* mock.calls).map(({ memory }) => memory)), 96 * MIB)
      }).pipe(scripted(() => ({ delay: "10 seconds", memory: 48 * MIB })))
    }))

  it.effect("tries a failure that can pass again, after pauses that grow", () =>
    Effect.gen(function*() {
      const request = yield* requestFor()
      yield* Effect.gen(function*() {
        const report = yield* elapse(compile(request), "50 millis")
        assert.strictEqual(report.archives, 2)
        const attempts = (yield* record).filter(({ part }) => part === "group_post_1")
        assert.deepStrictEqual(attempts.map(({ outcome }) => outcome), ["failed", "failed", "succeeded"])
        const [first = 0, second = 0] = attempts.slice(1).map(({ began }, i) => began - (attempts[i]?.ended ?? 0))
        // 1 s and 2 s, jittered by a fifth; a millisecond for rounding
        assert.isTrue(first >= 799 && first <= 1201, `${first} ms`)
        assert.isTrue(second >= 1599 && second <= 2401, `${second} ms`)
      }).pipe(scripted((part) => part === "group_post_1" ? { failure: { kind: "transient", times: 2 } } : {}))
    }))

  it.effect("gives up on a failure that should pass and does not, after three more attempts", () =>
    Effect.gen(function*() {
      const request = yield* requestFor()
      yield* Effect.gen(function*() {
        const error = yield* failing(yield* Effect.flip(elapse(compile(request))))
        assert.deepStrictEqual(error.failures.map(({ exitCode, step }) => [step, exitCode]), [["compile/layer_1", 5]])
        assert.strictEqual((yield* record).filter(({ part }) => part === "group_pre_1").length, 4)
      }).pipe(scripted((part) => part === "group_pre_1" ? { failure: { kind: "transient", times: 99 } } : {}))
    }))

  it.effect("does not try a permanent failure again, and names the part", () =>
    Effect.gen(function*() {
      const request = yield* requestFor()
      yield* Effect.gen(function*() {
        const error = yield* failing(yield* Effect.flip(elapse(compile(request))))
        assert.deepStrictEqual(error.failures, [{
          step: "compile/layer_0",
          message: "target mock, single_cache_0: scripted permanent failure",
          exitCode: 5
        }])
        assert.strictEqual(Runtime.getErrorExitCode(error), 5)
        assert.strictEqual((yield* record).filter(({ part }) => part === "single_cache_0").length, 1)
        assert.isEmpty((yield* record).filter(({ part }) => part === "single_post_0"))
      }).pipe(scripted((part) => part === "single_cache_0" ? { failure: { kind: "permanent" } } : {}))
    }))

  it.effect("keeps the layers that are done when one fails, and makes only that one when it resumes", () =>
    Effect.gen(function*() {
      const request = yield* requestFor({ layers: 3 }, { jobs: 3 })
      const fs = yield* FileSystem.FileSystem
      const path = yield* Path.Path
      const archive = (layer: number) => path.join(request.output, `sima_files/mpk/layer_${layer}.tar.gz`)
      yield* Effect.gen(function*() {
        const mock = yield* MockTarget
        const fiber = yield* Effect.forkChild(Effect.flip(compile(request)))
        yield* mock.running(3)
        const error = yield* failing(yield* elapse(Fiber.join(fiber)))
        assert.deepStrictEqual(error.failures.map(({ step }) => step), ["compile/layer_1"])
        assert.deepStrictEqual(yield* Effect.forEach([0, 1, 2], (layer) => fs.exists(archive(layer))), [
          true,
          false,
          true
        ])
      }).pipe(scripted((part) => part === "single_post_1" ? { failure: { kind: "permanent" } } : { delay: "1 minute" }))
      const kept = yield* fs.stat(archive(0))

      yield* Effect.gen(function*() {
        const report = yield* elapse(compile({ ...request, resume: true }))
        assert.deepStrictEqual((yield* record).map(({ part }) => part), partsOf(1))
        assert.deepStrictEqual(report.steps.filter((step) => !step.kept).map(({ id }) => id), ["compile/layer_1"])
      }).pipe(scripted(() => ({})))
      assert.deepStrictEqual((yield* fs.stat(archive(0))).mtime, kept.mtime)
      assert.isTrue(yield* fs.exists(archive(1)))
    }))

  it.effect("reports all failures of a run together", () =>
    Effect.gen(function*() {
      const request = yield* requestFor({ layers: 4 }, { jobs: 2 })
      yield* Effect.gen(function*() {
        const mock = yield* MockTarget
        const fiber = yield* Effect.forkChild(Effect.flip(compile(request)))
        yield* mock.running(2)
        const error = yield* failing(yield* elapse(Fiber.join(fiber)))
        assert.strictEqual(error.failures.length, 2)
        for (const { exitCode, message } of error.failures) {
          assert.match(message, /^target mock, group_pre_\d: scripted permanent failure$/)
          assert.strictEqual(exitCode, 5)
        }
        for (const { message, step } of error.failures) assert.include(error.message, `${step}: ${message}`)
        assert.isAtLeast(error.skipped, 2)
        assert.strictEqual((yield* mock.calls).length, 2)
      }).pipe(scripted(() => ({ delay: "1 second", failure: { kind: "permanent" } })))
    }))

  it.effect("leaves no half file when it is interrupted, and goes on from there", () =>
    Effect.gen(function*() {
      const request = yield* requestFor({ layers: 3 }, { jobs: 1 })
      yield* Effect.gen(function*() {
        const mock = yield* MockTarget
        // layer 0 needs no time; with its archive begun, what runs next is layer 1, which waits for an hour
        const fiber = yield* Effect.forkChild(compile(request))
        yield* mock.running(1).pipe(Effect.repeat({
          until: () => Effect.map(mock.links, ({ length }) => length > 0)
        }))
        yield* mock.running(1)
        yield* Fiber.interrupt(fiber)
        const calls = yield* mock.calls
        assert.strictEqual(calls.at(-1)?.outcome, "interrupted")
        const files = yield* filesOf(request.output)
        assert.isEmpty(files.filter((file) => file.includes(".tmp-")))
        assert.deepStrictEqual(files.filter((file) => file.includes("mpk/")), ["sima_files/mpk/layer_0.tar.gz"])
        assert.isFalse(files.includes(".llima/lock"))
      }).pipe(scripted((part) => part.endsWith("_0") ? {} : { delay: "1 hour" }))

      yield* Effect.gen(function*() {
        const report = yield* elapse(compile({ ...request, resume: true }))
        assert.deepStrictEqual((yield* record).map(({ part }) => part).sort(), [...partsOf(1), ...partsOf(2)].sort())
        assert.strictEqual(report.steps.find(({ id }) => id === "compile/layer_0")?.kept, true)
      }).pipe(scripted(() => ({})))

      const undisturbed = { ...request, output: `${request.output}-whole` }
      yield* Effect.provide(elapse(compile(undisturbed)), compilerTest(MockTarget.layer()))
      for (const layer of [0, 1, 2]) {
        assert.deepStrictEqual(yield* archiveOf(request.output, layer), yield* archiveOf(undisturbed.output, layer))
      }
    }))

  it.effect("leaves no half archive when it is interrupted while it writes one", () =>
    Effect.gen(function*() {
      const request = yield* requestFor({ layers: 1 })
      const fs = yield* FileSystem.FileSystem
      const writing = yield* Deferred.make<string>()
      const slow = Mpk.of({
        write: (path) =>
          Effect.orDie(fs.writeFileString(path, "half of an arch")).pipe(
            Effect.andThen(Deferred.succeed(writing, path)),
            Effect.andThen(Effect.never)
          )
      })
      const services = Layer.mergeAll(
        MockTarget.layer(),
        Kernels.layer(1),
        Layer.succeed(Mpk, slow),
        Progress.layerSilent,
        Verifier.layer
      )
      const fiber = yield* Effect.forkChild(Effect.provide(compile(request), Layer.provide(Compiler.layer, services)))
      assert.isTrue(yield* fs.exists(yield* Deferred.await(writing)))
      yield* Fiber.interrupt(fiber)
      const files = yield* filesOf(request.output)
      assert.include(files, "sima_files/quantized/group_pre_0.onnx")
      assert.isEmpty(files.filter((file) => file.includes(".tmp-") || file.includes("mpk/")))
    }))

  it.effect("refuses a plan whose largest step is over the memory that it may take, before any work", () =>
    Effect.gen(function*() {
      const request = yield* requestFor()
      yield* Effect.gen(function*() {
        const { steps } = yield* (yield* Compiler).plan(request)
        const needed = PROCESS_MEMORY + most(steps.map(({ memory }: Step) => memory))
        const error = yield* Effect.flip(compile({ ...request, maxMemory: needed - 1 }))
        assert.instanceOf(error, OutOfBudget)
        assert.deepInclude(error, { what: "memory", needed, found: needed - 1 })
        assert.strictEqual(Runtime.getErrorExitCode(error), 7)
        assert.isFalse(yield* (yield* FileSystem.FileSystem).exists(request.output))
      }).pipe(scripted(() => ({})))
    }))

  it.effect("refuses a plan that the disk has no room for, before any work", () =>
    Effect.gen(function*() {
      // 9 TB of holes: some kilobytes on the disk
      const request = yield* requestFor({
        layers: 12,
        hidden: 131_072,
        intermediate: 524_288,
        heads: 1024,
        keyValueHeads: 1024,
        weights: "holes"
      })
      yield* Effect.gen(function*() {
        const error = yield* Effect.flip(compile(request))
        assert.instanceOf(error, OutOfBudget)
        assert.strictEqual(error.what, "disk")
        assert.isAbove(error.needed, 5e12)
        assert.isBelow(error.found, error.needed)
        assert.strictEqual(Runtime.getErrorExitCode(error), 7)
        assert.include(error.message, "--output")
        assert.isFalse(yield* (yield* FileSystem.FileSystem).exists(request.output))
        assert.deepStrictEqual(yield* record, [])
      }).pipe(scripted(() => ({})))
    }))
})

layer(NodeServices.layer)("elapse", (it) => {
  it.effect("lets hours pass in what waits", () =>
    Effect.gen(function*() {
      yield* elapse(Effect.sleep("3 hours"), "30 minutes")
      assert.isAtLeast(yield* TestClock.testClockWith((clock) => clock.currentTimeMillis), 3 * 3_600_000)
    }))

  it.effect("fails as the effect does", () =>
    Effect.gen(function*() {
      const error = yield* Effect.flip(elapse(Effect.andThen(Effect.sleep("1 minute"), Effect.fail("late"))))
      assert.strictEqual(error, "late")
    }))
})
