import { assert, describe, it } from "@effect/vitest"
import { inferNode } from "../../src/onnx/Infer.ts"
import type { Typed } from "../../src/onnx/infer/Rule.ts"

const infer = (
  op: string,
  inputs: ReadonlyArray<Typed>,
  attributes: Readonly<Record<string, number>> = {},
  outputs = 1
) =>
  inferNode("", {
    op,
    inputs,
    outputs,
    attributes: Object.fromEntries(
      Object.entries(attributes).map(([name, value]) => [name, { kind: "int" as const, value }])
    )
  })

const floats = (...shape: Typed["shape"]): Typed => ({ dtype: "f32", shape })
const numbers = (...values: ReadonlyArray<number>): Typed => ({ dtype: "i64", shape: [values.length], values })

describe("inferNode", () => {
  it("names the stretches of a Split by sizes that the graph computes", () => {
    const sizes: Typed = { dtype: "i64", shape: [2] }
    assert.deepStrictEqual(infer("Split", [floats("tokens", 8), sizes], { axis: 0 }, 2), [
      floats("piece_0", 8),
      floats("piece_1", 8)
    ])
    assert.throws(() => infer("Split", [floats("tokens", 8), numbers(3, 4)], { axis: 1 }, 2), "do not cut")
  })

  it("takes a computed number of TopK for all along the axis", () => {
    const shapes = [{ dtype: "i64" as const, shape: [1] }, numbers(2)].map((k) =>
      infer("TopK", [floats("tokens", 8), k], { axis: 0 }, 2).map(({ shape }) => shape)
    )
    assert.deepStrictEqual(shapes, [[["tokens", 8], ["tokens", 8]], [[2, 8], [2, 8]]])
  })

  it("knows the numbers of a Shape where all dimensions are known", () => {
    assert.deepStrictEqual(infer("Shape", [floats("tokens", 8)]), [{ dtype: "i64", shape: [2], values: undefined }])
    assert.deepStrictEqual(infer("Shape", [floats("tokens", 8)], { start: 1 }), [numbers(8)])
  })

  it("puts the depth of a OneHot last, with the values' dtype", () => {
    const depth: Typed = { dtype: "i64", shape: [], values: [6] }
    assert.deepStrictEqual(infer("OneHot", [{ dtype: "i64", shape: ["tokens"] }, depth, floats(2)]), [
      floats("tokens", 6)
    ])
  })

  it("multiplies dimensions before and behind the axis of a Flatten", () => {
    assert.deepStrictEqual(infer("Flatten", [floats("tokens", 4, "context")], { axis: 2 }), [
      floats("4*tokens", "context")
    ])
  })
})
