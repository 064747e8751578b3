import { assert, describe, it } from "@effect/vitest"
import { Console, Effect, Exit, Fiber, Layer } from "effect"
import { TestClock, TestConsole } from "effect/testing"
import { layerLive, layerPlain } from "../../src/cli/ProgressDisplay.ts"
import {
  amount,
  begin,
  block,
  plainLines,
  type ProgressState,
  remaining,
  stoppingText,
  update
} from "../../src/cli/ProgressState.ts"
import { Screen } from "../../src/cli/Screen.ts"
import { session } from "../../src/cli/Session.ts"
import { Progress, type ProgressEvent, type ProgressStage } from "../../src/stage/Progress.ts"

const bytes: ProgressStage = { name: "QUANTIZE", unit: "bytes", total: 1000e6, weight: 3 }
const steps: ProgressStage = { name: "COMPILE", unit: "steps", total: 10, weight: 1 }
const planned: ProgressEvent = { _tag: "Planned", stages: [bytes, steps] }
const advanced = (stage: string, amount: number, reused = false): ProgressEvent => ({
  _tag: "Advanced",
  stage,
  amount,
  reused
})
const done = (stage: string): ProgressEvent => ({ _tag: "Done", stage })
/** Events with their times in milliseconds. */
const after = (...events: ReadonlyArray<readonly [number, ProgressEvent]>): ProgressState =>
  events.reduce((state, [now, event]) => update(state, event, now), begin(0))

describe("remaining", () => {
  it("is unknown at the start", () => {
    assert.isUndefined(remaining(after([0, planned]), 5000))
    assert.isUndefined(remaining(after([0, planned], [100, advanced("QUANTIZE", 500e6)]), 100))
  })
  it("is that of the whole job, by the stages' weights", () => {
    // half of a stage of 3 in 3 s: 1.5 of 4 done, 2.5 left at 0.5 a second
    assert.closeTo(remaining(after([0, planned], [3000, advanced("QUANTIZE", 500e6)]), 3000) ?? 0, 5, 1e-9)
  })
  it("does not count kept work as speed", () => {
    const state = after([0, planned], [10, advanced("QUANTIZE", 500e6, true)], [3000, advanced("QUANTIZE", 250e6)])
    assert.closeTo(remaining(state, 3000) ?? 0, 3 * (0.75 + 1) / 0.75, 1e-9)
  })
  it("is unknown when nothing is left", () => {
    assert.isUndefined(remaining(after([0, planned], [3000, done("QUANTIZE")], [4000, done("COMPILE")]), 4000))
  })
})

describe("update", () => {
  it("never passes a stage's total, and ignores stages that nobody planned", () => {
    const state = after([0, planned], [1, advanced("COMPILE", 99)], [2, advanced("OTHER", 1)], [3, done("COMPILE")], [
      9,
      done("COMPILE")
    ])
    assert.deepInclude(state.stages[1], { done: 10, started: 1, ended: 3 })
  })
})

describe("amount", () => {
  it("has a rate for bytes, from the work of this run", () => {
    const state = after([0, planned], [1000, advanced("QUANTIZE", 200e6, true)], [3000, advanced("QUANTIZE", 300e6)])
    const [stage] = state.stages
    assert.strictEqual(stage && amount(stage, 3000), "477 MiB of 954 MiB  150 MB/s")
  })
  it("counts steps", () => {
    const stage = after([0, planned], [1, advanced("COMPILE", 3)]).stages[1]
    assert.strictEqual(stage && amount(stage, 1), "3 of 10")
  })
})

describe("block", () => {
  const state = after([0, planned], [0, advanced("QUANTIZE", 0)], [2000, done("QUANTIZE")], [
    2000,
    advanced("COMPILE", 0)
  ], [3000, advanced("COMPILE", 5)])
  it("has a line for each stage and one for the job", () => {
    assert.deepStrictEqual(block(state, 3000, 100), [
      "QUANTIZE ━━━━━━━━━━━━━━━━━━━━ 100 %  954 MiB of 954 MiB  500 MB/s  2.0 s",
      "COMPILE  ━━━━━━━━━━╌╌╌╌╌╌╌╌╌╌  50 %  5 of 10",
      "3.0 s so far, about 429 ms left"
    ])
  })
  it.each([
    [
      120,
      "QUANTIZE ━━━━━━━━━━━━━━━━━━━━ 100 %  954 MiB of 954 MiB  500 MB/s  2.0 s",
      "COMPILE  ━━━━━━━━━━╌╌╌╌╌╌╌╌╌╌  50 %  5 of 10"
    ],
    [
      80,
      "QUANTIZE ━━━━━━━━━━━━━━━━━━━━ 100 %  954 MiB of 954 MiB  500 MB/s  2.0 s",
      "COMPILE  ━━━━━━━━━━╌╌╌╌╌╌╌╌╌╌  50 %  5 of 10"
    ],
    [
      60,
      "QUANTIZE ━━━━━━━━━━━━━━━━━━━━ 100 %  954 MiB of 954 MiB",
      "COMPILE  ━━━━━━━━━━╌╌╌╌╌╌╌╌╌╌  50 %  5 of 10"
    ],
    [40, "QUANTIZE ━━━━ 100 %  954 MiB of 954 MiB", "COMPILE  ━━╌╌  50 %  5 of 10"],
    [20, "QUANTIZE ━━━━ 100 %", "COMPILE  ━━╌╌  50 %"]
  ])("of %i columns has whole fields only", (columns, ...lines) => {
    assert.deepStrictEqual(block(state, 3000, columns).slice(0, 2), lines)
  })
  it("fits the terminal, and says that it is stopping", () => {
    assert.strictEqual(block(state, 3000, 40, true).at(-1), stoppingText)
    for (const columns of [20, 5, 1]) {
      const lines = block(state, 3000, columns, true)
      assert.isTrue(lines.every((line) => line.length <= Math.max(1, columns - 1)))
    }
    assert.strictEqual(block(state, 3000, 20, true).at(-1), "stopping")
    assert.strictEqual(block(state, 3000, 20).at(-1), "about 429 ms left")
  })
})

/** Lines of a stage whose hundredths take `each` milliseconds. */
const linesOf = (each: number): ReadonlyArray<string> => {
  let state = after([0, planned])
  let said = 0
  const lines: Array<string> = []
  const tell = (event: ProgressEvent, now: number) => {
    const next = update(state, event, now)
    const more = plainLines(state, next, now, said)
    if (more.length > 0) said = now
    lines.push(...more)
    state = next
  }
  for (let step = 1; step <= 100; step++) tell(advanced("QUANTIZE", 10e6), step * each)
  tell(done("QUANTIZE"), 101 * each)
  return lines
}

describe("plainLines", () => {
  it("speak once a tenth and at the end", () => {
    const lines = linesOf(200)
    assert.strictEqual(lines.length, 10)
    assert.strictEqual(lines[4], "QUANTIZE: 50 %, 477 MiB of 954 MiB  51 MB/s, about 16.7 s left")
    assert.strictEqual(lines.at(-1), "QUANTIZE: done in 20.0 s, 954 MiB of 954 MiB  50 MB/s")
  })
  it("say nothing of work that was kept", () => {
    const before = after([0, planned])
    const kept = update(before, advanced("QUANTIZE", 500e6, true), 5000)
    assert.deepStrictEqual(plainLines(before, kept, 5000, 0), [])
    assert.lengthOf(plainLines(kept, update(kept, advanced("QUANTIZE", 100e6), 6000), 6000, 0), 1)
  })
  it("wait two seconds before they speak again", () => {
    assert.deepEqual(linesOf(10), ["QUANTIZE: done in 1.0 s, 954 MiB of 954 MiB  1000 MB/s"])
    assert.lengthOf(linesOf(50), 3)
  })
})

/** Ten tenths of a stage, each with a pause behind it. */
const work = Effect.fnUntraced(function*(pause: number) {
  const progress = yield* Progress
  yield* progress.plan([bytes, steps])
  for (let step = 0; step < 10; step++) {
    yield* progress.advance("QUANTIZE", 100e6)
    yield* Effect.sleep(pause)
  }
  yield* progress.done("QUANTIZE")
  yield* Console.log("result")
})

const escape = String.fromCodePoint(27)
const escapes = new RegExp(`(${escape}\\[\\??\\d+[A-Zhl]|\\n|\\r)`)
const cursorUp = new RegExp(`^${escape}\\[(\\d+)A$`)

/** A terminal that keeps what is on it: enough of one for our escapes. */
const fakeTerminal = () => {
  const lines: Array<string> = [""]
  let column = 0
  let cursor = true
  const write = (text: string) => {
    for (const piece of text.split(escapes)) {
      const up = cursorUp.exec(piece)
      if (up !== null) lines.length = Math.max(1, lines.length - Number(up[1]))
      else if (piece === "\x1b[0J") lines[lines.length - 1] = (lines.at(-1) ?? "").slice(0, column)
      else if (piece === "\r") column = 0
      else if (piece === "\x1b[?25l") cursor = false
      else if (piece === "\x1b[?25h") cursor = true
      else if (piece === "\n") {
        lines.push("")
        column = 0
      } else {
        lines[lines.length - 1] = (lines.at(-1) ?? "").slice(0, column) + piece
        column += piece.length
      }
    }
  }
  const layer = Layer.succeed(Screen, {
    live: true,
    asks: false,
    columns: () => 100,
    rows: () => 24,
    write,
    stopping: () => false,
    peakMemory: () => undefined
  })
  return { layer, lines, cursor: () => cursor, write }
}

const runFor = <A, E>(effect: Effect.Effect<A, E>, milliseconds: number) =>
  Effect.gen(function*() {
    const fiber = yield* Effect.forkChild(effect)
    yield* TestClock.adjust(milliseconds)
    return fiber
  })

describe("layerLive", () => {
  it.effect("redraws in place, lets lines scroll above, and goes at the end", () =>
    Effect.gen(function*() {
      const terminal = fakeTerminal()
      const base = yield* Console.Console
      const console_ = { ...base, log: (...args: ReadonlyArray<unknown>) => terminal.write(`${args.join(" ")}\n`) }
      const live = work(100).pipe(
        Effect.provide(layerLive.pipe(Layer.provide(terminal.layer))),
        Effect.provideService(Console.Console, console_)
      )
      const fiber = yield* runFor(live, 550)
      assert.deepStrictEqual(terminal.lines.length, 4)
      assert.match(terminal.lines[0] ?? "", /^QUANTIZE ━+╌+ +60 %/)
      assert.isFalse(terminal.cursor())
      yield* TestClock.adjust(1000)
      yield* Fiber.join(fiber)
      assert.deepStrictEqual(terminal.lines, ["result", ""])
      assert.isTrue(terminal.cursor())
    }))

  it.effect("leaves nothing behind when a key was echoed", () =>
    Effect.gen(function*() {
      const terminal = fakeTerminal()
      const fiber = yield* runFor(Effect.provide(work(100), layerLive.pipe(Layer.provide(terminal.layer))), 300)
      terminal.write("^C")
      yield* Fiber.interrupt(fiber)
      assert.deepStrictEqual(terminal.lines, [""])
    }))

  it.effect("gives the cursor back when it is interrupted", () =>
    Effect.gen(function*() {
      const terminal = fakeTerminal()
      const fiber = yield* runFor(Effect.provide(work(100), layerLive.pipe(Layer.provide(terminal.layer))), 300)
      assert.isFalse(terminal.cursor())
      yield* Fiber.interrupt(fiber)
      assert.isTrue(terminal.cursor())
      assert.deepStrictEqual(terminal.lines, [""])
    }))
})

const said = (logLevel: "Info" | "Warn" | "Error", logFormat: "text" | "json") =>
  Effect.gen(function*() {
    const fiber = yield* runFor(session({ logLevel, logFormat }, work(2000), ""), 25_000)
    assert.isTrue(Exit.isSuccess(yield* Fiber.await(fiber)))
    return (yield* TestConsole.errorLines).map(String)
  })

describe("session", () => {
  it.effect("shows plain lines where nothing can be redrawn", () =>
    Effect.gen(function*() {
      const lines = yield* said("Warn", "text")
      assert.strictEqual(lines.length, 9)
      assert.match(lines.at(-1) ?? "", /^QUANTIZE: done in 20\.0 s/)
    }))
  it.effect("shows no progress at ERROR", () =>
    Effect.gen(function*() {
      assert.deepStrictEqual(yield* said("Error", "text"), [])
    }))
  it.effect("keeps every line of a JSON log JSON", () =>
    Effect.gen(function*() {
      const lines = yield* said("Info", "json")
      assert.strictEqual(lines.length, 9)
      assert.deepInclude(JSON.parse(lines[8] ?? ""), { level: "INFO" })
    }))
})

describe("layerPlain", () => {
  it.effect("says nothing of a job without stages", () =>
    Effect.gen(function*() {
      yield* Effect.flatMap(Progress, (progress) => progress.done("ONNX")).pipe(Effect.provide(layerPlain))
      assert.deepStrictEqual(yield* TestConsole.errorLines, [])
    }))
})
