import { assert, describe, layer } from "@effect/vitest"
import { Effect, Logger, References } from "effect"
import { writeFileSync } from "node:fs"
import { join } from "node:path"
import { compile, folder, model, Platform } from "./Build.ts"

/** What a build of qwen3 says at INFO. */
const informed = Effect.fnUntraced(function*(precision: string, jobs: number) {
  const root = yield* folder
  const configurationFile = join(root, "config.py")
  writeFileSync(
    configurationFile,
    `def get_layer_configuration(model, layer):\n    return {"precision": "${precision}"}\n`
  )
  const said: Array<string> = []
  yield* compile({ modelPath: model("qwen3"), output: join(root, "out"), configurationFile, jobs }).pipe(
    Effect.provide(Logger.layer([
      Logger.make(({ logLevel, message }) => logLevel === "Info" ? void said.push(String(message)) : undefined)
    ])),
    Effect.provideService(References.MinimumLogLevel, "Info")
  )
  return said
})

describe("QUANTIZE at INFO", () => {
  layer(Platform, { excludeTestServices: true })((it) => {
    it.effect(
      "has a line for every tensor that it writes, numbered over the build, with sizes that say something",
      () =>
        Effect.gen(function*() {
          const lines = yield* informed("A_BF16_W_INT4", 2)
          assert.deepStrictEqual(
            lines.map((line) => Number(/^\[(\d+)\/22\]/.exec(line)?.[1])).sort((a, b) => a - b),
            Array.from({ length: 22 }, (_, at) => at + 1)
          )
          assert.include(
            lines,
            "[8/22] model.layers.1.self_attn.q_proj.weight, [128 × 64], bf16 → int4, 16.0 KiB → 4.50 KiB"
          )
          assert.deepStrictEqual(lines.filter((line) => line.includes("0.00")), [])
        }).pipe(Effect.scoped),
      30_000
    )

    it.effect("says that weights stay where they are when none is written", () =>
      Effect.gen(function*() {
        assert.deepStrictEqual(yield* informed("BF16", 1), [
          "no tensor is written: all weights stay in the checkpoint's files"
        ])
      }).pipe(Effect.scoped), 30_000)
  })
})
