import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { runBatch } from "./Batch.ts"

const seed = Number(process.env["LLIMA_FUZZ_SEED"] ?? 20_261_125)

// each outcome occurs, so that the damage reaches every depth
const batches = [
  ["gguf", 1400, ["taken", "3 HeaderInvalid", "3 Truncated", "4 ConfigUnsupported"]],
  ["safetensors", 600, ["taken", "3 HeaderInvalid", "3 JsonInvalid", "3 PieceInvalid"]],
  ["quantized", 600, ["taken", "3 PieceInvalid", "4 UnsupportedQuantization"]]
] as const

describe("open", () => {
  it.live.each(batches)(
    `gives a value or a typed error for damaged files (%s, %i of them, seed ${seed}), in bounded memory and time`,
    ([kind, count, outcomes]) =>
      Effect.gen(function*() {
        yield* Effect.sync(() => console.log(`seed ${seed}; LLIMA_FUZZ_SEED sets another`))
        const { failure, reasons } = yield* runBatch(kind, seed, count)
        assert.isUndefined(failure, failure)
        assert.strictEqual(Object.values(reasons).reduce((a, b) => a + b, 0), count)
        for (const outcome of outcomes) assert.isAbove(reasons[outcome] ?? 0, 1, JSON.stringify(reasons))
      }),
    90_000
  )
})
