import { assert, describe, it } from "@effect/vitest"
import { attribute, Builder } from "../../src/onnx/Builder.ts"
import { check } from "../../src/onnx/Check.ts"
import type { Graph } from "../../src/onnx/Graph.ts"
import { encode } from "../../src/onnx/OnnxFile.ts"
import { hideRows } from "../../src/target/lower/hide-rows.ts"

/** Rows `[tokens × 3]`, split in stretches of the given lengths, in the other order. */
const sample = (isComputed: boolean): Graph => {
  const graph = new Builder("stretches")
  const rows = graph.input("rows", "f32", ["tokens", 3])
  const sizes = isComputed ? graph.input("sizes", "i64", [3]) : graph.constant("sizes", "i64", [3], [2, 0, 1])
  const pieces = graph.ops("Split", [rows, sizes], { axis: attribute.int(0) }, 3)
  graph.output("out", graph.concat(pieces.toReversed(), 0))
  return graph.build()
}

describe("hideRows", () => {
  it("leaves splits by known sizes", () => {
    assert.deepStrictEqual(hideRows.run(sample(false)), sample(false))
  })

  it("gives the same rows, of no and of one token and of several, and does nothing more the second time", async () => {
    const hidden = hideRows.run(sample(true))
    assert.deepStrictEqual(check(hidden), [])
    assert.deepStrictEqual(hideRows.run(hidden), hidden)
    assert.deepStrictEqual(hidden.nodes.map(({ op }) => op), [
      "Shape",
      "ReduceSum",
      "Add",
      "Slice",
      "Reshape",
      "Split",
      "Concat"
    ])
    const ort = await import("onnxruntime-node")
    const session = await ort.InferenceSession.create(encode(hidden), { intraOpNumThreads: 1 })
    for (const sizes of [[0, 0, 0], [0, 1, 0], [2, 0, 1]]) {
      const tokens = sizes.reduce((a, b) => a + b, 0)
      const all = Array.from({ length: tokens * 3 }, (_, i) => i)
      const { out } = await session.run({
        rows: new ort.Tensor("float32", Float32Array.from(all), [tokens, 3]),
        sizes: new ort.Tensor("int64", BigInt64Array.from(sizes, BigInt), [3])
      })
      let end = 0
      const stretches = sizes.map((size) => all.slice(end * 3, (end += size) * 3))
      assert.deepStrictEqual(Array.from(out?.data ?? [], Number), stretches.toReversed().flat())
      assert.deepStrictEqual(out?.dims, [tokens, 3])
    }
    await session.release()
  })
})
