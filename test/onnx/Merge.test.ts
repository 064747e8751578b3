import { assert, describe, it } from "@effect/vitest"
import { Builder } from "../../src/onnx/Builder.ts"
import { check } from "../../src/onnx/Check.ts"
import type { Value } from "../../src/onnx/Graph.ts"
import { typesOf } from "../../src/onnx/Infer.ts"
import { merge } from "../../src/onnx/Merge.ts"
import { simplify } from "../../src/onnx/pass/registry.ts"
import { layer, pre, tensors } from "./Sample.ts"

const value = (name: string, ...more: ReadonlyArray<number>): Value => ({ name, dtype: "f32", shape: ["n", ...more] })

const piece = (dtype: "bf16" | "f16", shape: ReadonlyArray<number>) => {
  const builder = new Builder("p")
  const weight = { ...tensors()("w", [8], "bf16"), dtype, shape }
  builder.output("y", builder.add(builder.input("x", "f32", ["n", 8]), builder.f32(builder.weight(weight))))
  builder.output(
    "z",
    builder.reshape(builder.add(builder.input("x2", "f32", ["n", 8]), builder.constant("c", "f32", [1], [2])), [-1])
  )
  return builder.build()
}

describe("merge", () => {
  it("links the parts of a layer into a sound graph", () => {
    const graph = layer()
    assert.deepStrictEqual(check(graph), [])
    const types = typesOf(graph)
    for (const { dtype, name, shape } of graph.outputs) {
      assert.deepStrictEqual([types.get(name)?.dtype, types.get(name)?.shape], [dtype, shape])
    }
  })

  it("leaves no seam between parts after the passes", () => {
    const graph = simplify(layer())
    assert.deepStrictEqual(check(graph), [])
    const at = graph.nodes.findIndex(({ op }) => op === "Attention")
    const [q] = graph.nodes[at]?.inputs ?? []
    // Rotated q goes into Attention as it is: [1, tokens, width] on both sides of the cut.
    assert.strictEqual(graph.nodes.find(({ outputs }) => outputs.includes(q ?? ""))?.op, "RotaryEmbedding")
  })

  it("shares initialisers of the same bytes, and not those read as another dtype or shape", () => {
    const graphs = [piece("bf16", [8]), piece("bf16", [8]), piece("f16", [8]), piece("bf16", [1, 8])]
    const merged = merge(
      "m",
      graphs.map((graph, at) => ({ prefix: `p${at}.`, graph, bind: { x2: "x" }, emit: { y: `y${at}`, z: `z${at}` } })),
      [value("x", 8)],
      graphs.flatMap((_, at) => [value(`y${at}`, 8), { name: `z${at}`, dtype: "f32" as const, shape: ["8*n"] }])
    )
    assert.deepStrictEqual(check(merged), [])
    assert.deepStrictEqual(merged.initializers.map(({ name }) => name), ["p0.w", "p0.c", "p0.dims", "p2.w", "p3.w"])
  })

  it("emits a piece's own input by an Identity, and the value of another piece", () => {
    const builder = new Builder("p")
    const x = builder.input("x", "f32", ["n"])
    builder.output("same", x)
    builder.output("y", builder.tanh(x))
    const graph = builder.build()
    const bare = {
      ...graph,
      nodes: graph.nodes.filter(({ op }) => op !== "Identity"),
      outputs: graph.outputs.map((value) => value.name === "same" ? { ...value, name: "x" } : value)
    }
    const merged = merge(
      "m",
      [
        { prefix: "a.", graph: bare, bind: {}, emit: { x: "copy", y: "t" } },
        { prefix: "b.", graph: bare, bind: { x: "t" }, emit: { y: "u" } }
      ],
      [value("x")],
      [value("copy"), value("u")]
    )
    assert.deepStrictEqual(check(merged), [])
    assert.deepStrictEqual(
      merged.nodes.map(({ inputs, name, op, outputs }) => [op, name, ...inputs, ...outputs].join(" ")),
      [
        "Tanh a.tanh_0 x t",
        "Identity a.x x copy",
        "Tanh b.tanh_0 t u"
      ]
    )
  })

  it("throws on names that the piece does not have, and on two opsets", () => {
    const graph = pre()
    assert.throws(
      () => merge("m", [{ prefix: "a.", graph, bind: { hiden: "x" }, emit: {} }], [], []),
      /a\. has no hiden; it has hidden, cos, sin/
    )
    assert.throws(() => merge("m", [{ prefix: "a.", graph, bind: {}, emit: { Q: "q" } }], [], []), /has no Q/)
    const pieces = [graph, { ...graph, opset: 24 }].map((each, at) => ({
      prefix: `${at}.`,
      graph: each,
      bind: {},
      emit: {}
    }))
    assert.throws(() => merge("m", pieces, [], []), /23, 24/)
  })
})
