import { assert, describe, layer } from "@effect/vitest"
import { Effect } from "effect"
import { readdirSync } from "node:fs"
import { json, npy } from "../arch/Case.ts"
import { answer, compile, fixture, folder, opened, Platform } from "./Build.ts"

interface Expected {
  readonly prompt: ReadonlyArray<number>
  readonly greedy: ReadonlyArray<number>
  readonly tolerance: { readonly logits_abs: number }
  readonly tokenizer: {
    readonly samples: ReadonlyArray<{ readonly text: string; readonly ids: ReadonlyArray<number> }>
  }
}

const names = readdirSync(fixture("gguf")).flatMap((name) => name.endsWith(".gguf") ? [name.slice(0, -5)] : [])

describe.each(names)("%s.gguf", (name) => {
  layer(Platform, { excludeTestServices: true })((it) => {
    it.effect("gives the logits and tokens of its dequantised weights, and the reference's token ids", () =>
      Effect.gen(function*() {
        const expected: Expected = json(fixture(`gguf/${name}.expected.json`))
        const out = yield* folder
        const { steps } = yield* compile({
          modelPath: fixture(`gguf/${name}.gguf`),
          output: out,
          maxNumTokens: 64,
          languageGroupSize: 12,
          verify: "none"
        })
        assert.deepStrictEqual([...new Set(steps.map(({ stage }) => stage))], ["DEVKIT", "MODEL_SDK_DIRECT", "COMPILE"])
        const runner = yield* opened(out)
        const { ids, rows } = yield* answer(runner, {
          ids: expected.prompt,
          maxNewTokens: expected.greedy.length,
          ignoreEos: true,
          logits: true
        })
        const logits = npy(fixture(`gguf/${name}.logits.npy`)).data
        const found = rows.flatMap((row) => [...row])
        assert.strictEqual(found.length, logits.length)
        const worst = found.reduce((most, value, i) => Math.max(most, Math.abs(value - (logits[i] ?? NaN))), 0)
        assert.isAtMost(worst, expected.tolerance.logits_abs)
        assert.deepStrictEqual(ids, [...expected.greedy])
        for (const { ids, text } of expected.tokenizer.samples) {
          assert.deepStrictEqual(yield* runner.encode(text), ids, JSON.stringify(text))
        }
      }))
  })
})
