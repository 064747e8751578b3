import * as NodeServices from "@effect/platform-node/NodeServices"
import { assert, layer } from "@effect/vitest"
import { Effect, FileSystem, Layer } from "effect"
import { attribute, Builder } from "../../src/onnx/Builder.ts"
import { check } from "../../src/onnx/Check.ts"
import type { Graph } from "../../src/onnx/Graph.ts"
import { encode } from "../../src/onnx/OnnxFile.ts"
import { lower } from "../../src/target/lower/registry.ts"
import { taps } from "../../src/target/lower/taps.ts"
import { toBf16 } from "../../src/tensor/Float.ts"
import type { Tensor } from "../../src/tensor/Tensor.ts"
import { Runtime } from "../../src/verify/Runtime.ts"

const CHANNELS = 24

/** Numbers in ±1 that do not repeat. */
const wave = (length: number, seed: number) => Float32Array.from({ length }, (_, i) => Math.sin(1 + seed + i * 1.7))

interface Case {
  readonly size: number
  readonly bias: boolean
  readonly dtype: "bf16" | "f32"
}

const bytesOf = (dtype: Case["dtype"], numbers: Float32Array): Uint8Array =>
  new Uint8Array(dtype === "f32" ? numbers.buffer : Uint16Array.from(numbers, toBf16).buffer)

/** A convolution over rows as families draw it, its weights in `weights/`. */
const sample = ({ bias, dtype, size }: Case, attributes: Graph["nodes"][number]["attributes"] = {}) => {
  const kernel = bytesOf(dtype, wave(CHANNELS * size, 3))
  const offsets = bytesOf(dtype, wave(CHANNELS, 5))
  const tensor = (name: string, shape: ReadonlyArray<number>, { length }: Uint8Array): Tensor => ({
    name,
    dtype,
    shape,
    range: { file: `${name}.bin`, offset: 0, length }
  })
  const graph = new Builder("sample")
  const before = graph.input("state", "f32", [size - 1, CHANNELS])
  const x = graph.input("x", "f32", ["tokens", CHANNELS])
  const channels = graph.unsqueeze(graph.transpose(graph.concat([before, x], 0), [1, 0]), [0])
  const weight = tensor("kernel", [CHANNELS, 1, size], kernel)
  const mixed = graph.depthwise(channels, weight, bias ? tensor("offsets", [CHANNELS], offsets) : undefined)
  graph.output("y", graph.transpose(graph.squeeze(mixed, [0]), [1, 0]))
  const made = graph.build()
  const nodes = made.nodes.map((node) =>
    node.op === "Conv" ? { ...node, attributes: { ...node.attributes, ...attributes } } : node
  )
  return { graph: { ...made, nodes }, kernel, offsets }
}

const evaluate = Effect.fnUntraced(function*(graph: Graph, folder: string, size: number, tokens: number) {
  const runtime = yield* Runtime
  const session = yield* runtime.load({ name: graph.name, model: encode(graph), folder, threads: 1, accuracy: 1 })
  const { y } = yield* session.run({
    state: { dtype: "f32", shape: [size - 1, CHANNELS], data: wave((size - 1) * CHANNELS, 7) },
    x: { dtype: "f32", shape: [tokens, CHANNELS], data: wave(tokens * CHANNELS, 9) }
  })
  return Array.from(y?.data ?? [], Number)
})

const cases: ReadonlyArray<Case> = [
  { size: 3, bias: true, dtype: "bf16" },
  { size: 3, bias: false, dtype: "bf16" },
  { size: 2, bias: false, dtype: "f32" },
  { size: 5, bias: true, dtype: "f32" }
]

layer(Layer.mergeAll(Runtime.layer, NodeServices.layer), { excludeTestServices: true })("taps", (it) => {
  it.effect.each(cases)("keeps what is computed: size $size, bias $bias, $dtype", (test) =>
    Effect.gen(function*() {
      const fs = yield* FileSystem.FileSystem
      const folder = yield* fs.makeTempDirectoryScoped()
      const { graph, kernel, offsets } = sample(test)
      yield* fs.makeDirectory(`${folder}/weights`)
      yield* fs.writeFile(`${folder}/weights/kernel.bin`, kernel)
      yield* fs.writeFile(`${folder}/weights/offsets.bin`, offsets)
      const lowered = lower(graph)
      assert.deepStrictEqual(check(lowered), [])
      assert.isFalse(lowered.nodes.some(({ op }) => op === "Conv" || op === "Unsqueeze"))
      assert.deepStrictEqual(lowered.outputs, graph.outputs)
      for (const tokens of [1, 2, 9]) {
        const before = yield* evaluate(graph, folder, test.size, tokens)
        const after = yield* evaluate(lowered, folder, test.size, tokens)
        assert.strictEqual(before.length, tokens * CHANNELS)
        assert.isAbove(Math.max(...before.map(Math.abs)), 0.5)
        // float32 sums of at most six products of numbers below 1
        assert.isBelow(Math.max(...before.map((value, i) => Math.abs(value - (after[i] ?? NaN)))), 1e-6)
      }
    }).pipe(Effect.scoped))

  it.effect("runs once", () =>
    Effect.sync(() => {
      const once = lower(sample({ size: 3, bias: true, dtype: "bf16" }).graph)
      assert.deepStrictEqual(lower(once), once)
    }))

  it.effect("leaves other convolutions, and what is read on the way", () =>
    Effect.sync(() => {
      const test: Case = { size: 3, bias: false, dtype: "bf16" }
      for (
        const attributes of [{ strides: attribute.ints([2]) }, { pads: attribute.ints([1, 1]) }, {
          group: attribute.int(1)
        }]
      ) {
        const { graph } = sample(test, attributes)
        assert.deepStrictEqual(taps.run(graph), graph)
      }
      const { graph } = sample(test)
      const squeezed = graph.nodes.find(({ op }) => op === "Squeeze")?.outputs[0] ?? ""
      const shown = {
        ...graph,
        outputs: [...graph.outputs, { name: squeezed, dtype: "f32" as const, shape: [CHANNELS, "tokens"] }]
      }
      assert.deepStrictEqual(taps.run(shown), shown)
    }))
})
