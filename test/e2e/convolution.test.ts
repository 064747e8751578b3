import { assert, describe, layer } from "@effect/vitest"
import { Effect } from "effect"
import { readFileSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { decode } from "../../src/onnx/OnnxFile.ts"
import { json, readCase } from "../arch/Case.ts"
import { answer, compile, filesOf, folder, model, opened, Platform } from "./Build.ts"

const name = "lfm2"
const { array, prompts: { long }, tolerance } = readCase(name)

/** Compiles the case with a configuration file, or without one. */
const made = Effect.fnUntraced(function*(config?: string) {
  const root = yield* folder
  const configurationFile = join(root, "config.py")
  if (config !== undefined) writeFileSync(configurationFile, config)
  const output = join(root, "out")
  const report = yield* compile({
    modelPath: model(name),
    output,
    maxNumTokens: 96,
    languageGroupSize: 16,
    ...config === undefined ? {} : { configurationFile }
  })
  return { output, report }
})

const run = (output: string) =>
  Effect.flatMap(
    opened(output),
    (runner) => answer(runner, { ids: long.ids, maxNewTokens: long.new_ids.length, ignoreEos: true, logits: true })
  )

/** Standard deviation of the difference from transformers' logits over that of the logits. */
const relativeError = (rows: ReadonlyArray<Float32Array>): number => {
  const expected = array("logits_long").data
  const found = rows.flatMap((part) => Array.from(part))
  assert.strictEqual(found.length, expected.length)
  const squares = (value: (at: number) => number) => expected.reduce((sum, _, at) => sum + value(at) ** 2, 0)
  return Math.sqrt(squares((at) => (found[at] ?? NaN) - (expected[at] ?? 0)) / squares((at) => expected[at] ?? 0))
}

const asks = (precision: string) =>
  `def get_layer_configuration(model_properties, layer):
    return {"precision": "${precision}" if layer["part"] == "CONV" else "BF16"}
`

describe("a model with convolution layers", () => {
  layer(Platform, { excludeTestServices: true })((it) => {
    it.effect("is compiled into one program a phase for such a layer, and gives transformers' tokens", () =>
      Effect.gen(function*() {
        const { output } = yield* made()
        const graphs = filesOf(join(output, "onnx_files")).filter((file) => file.endsWith(".onnx"))
        assert.deepStrictEqual(
          graphs,
          [
            ...[0, 1, 3].flatMap((i) => [`group_conv_${i}.onnx`, `single_conv_${i}.onnx`]),
            ...["group", "single"].flatMap((phase) => ["cache", "post", "pre"].map((part) => `${phase}_${part}_2.onnx`))
          ].sort()
        )
        const { layers } = json(join(output, "sima_files/devkit/runtime.json"))
        assert.deepStrictEqual(layers[3], {
          kind: "convolution",
          stateRows: 2,
          stateWidth: 48,
          programs: ["group_conv_3", "single_conv_3"],
          omitted: []
        })
        const { lm_cfg } = json(join(output, "sima_files/devkit/vlm_config.json"))
        assert.deepInclude(lm_cfg, { arch: "lfm", layer_types: ["conv", "conv", "full_attention", "conv"] })
        const { ids, rows } = yield* run(output)
        assert.deepStrictEqual(ids, [...long.new_ids])
        const expected = array("logits_long").data
        const found = rows.flatMap((part) => Array.from(part))
        const worst = found.reduce((most, value, at) => Math.max(most, Math.abs(value - (expected[at] ?? NaN))), 0)
        assert.isAtMost(worst, tolerance)
      }).pipe(Effect.scoped))

    it.effect("is quantised where the file asks for CONV: projections, MLP and head become codes, kernels stay", () =>
      Effect.gen(function*() {
        const { output, report } = yield* made(asks("A_BF16_W_INT4"))
        // the head keeps 8 bits
        assert.deepStrictEqual(report.precisions.map(({ precision }) => precision), [
          "BF16",
          "A_BF16_W_INT8",
          "A_BF16_W_INT4"
        ])
        const blobs = filesOf(join(output, "sima_files/quantized/weights")).filter((file) => file.endsWith(".bin"))
        assert.deepStrictEqual(blobs.map((file) => file.split(".").slice(0, 2).join(".")), [
          "conv_0.w4",
          "conv_1.w4",
          "conv_3.w4"
        ])
        const { programs } = json(join(output, "sima_files/devkit/precision.json"))
        assert.deepInclude(programs["single_conv_3"], { precision: "A_BF16_W_INT4", head: "A_BF16_W_INT8" })
        const file = join(output, "sima_files/quantized/single_conv_3.onnx")
        const { initializers } = yield* Effect.fromResult(decode(readFileSync(file)))
        const dtypes = new Map(initializers.map(({ dtype, name }) => [name, dtype]))
        const at = "model.layers.3"
        assert.strictEqual(dtypes.get(`${at}.conv.conv.weight`), "bf16")
        for (const weight of ["conv.in_proj", "conv.out_proj", "feed_forward.w1", "feed_forward.w2"]) {
          assert.strictEqual(dtypes.get(`${at}.${weight}.weight.codes`), "u4", weight)
        }
        assert.strictEqual(dtypes.get("model.embed_tokens.weight.codes"), "u8")
        const four = relativeError((yield* run(output)).rows)
        const eight = relativeError((yield* run((yield* made(asks("A_BF16_W_INT8"))).output)).rows)
        // int8 rounds to 1/254 of a block's largest number, int4 to 1/16: errors of about 1 and 15 percent a layer
        assert.isBelow(eight, 0.05)
        assert.isAbove(eight, 1e-4)
        assert.isBelow(four, 0.6)
        assert.isAbove(four, 4 * eight)
      }).pipe(Effect.scoped))
  })
})
