import { assert, describe, it } from "@effect/vitest"
import { Schema } from "effect"
import { Builder } from "../../../src/onnx/Builder.ts"
import { check } from "../../../src/onnx/Check.ts"
import type { Graph } from "../../../src/onnx/Graph.ts"
import { cancelReshape } from "../../../src/onnx/pass/cancel-reshape.ts"
import { deadNodes } from "../../../src/onnx/pass/dead-nodes.ts"
import { passes, simplify } from "../../../src/onnx/pass/registry.ts"
import { cache, post, pre, random } from "../Sample.ts"

const lines = (graph: Graph) => graph.nodes.map(({ inputs, op, outputs }) => [op, ...inputs, ...outputs].join(" "))
const Steps = Schema.Array(Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 4095 })))

const simplified = (make: (builder: Builder, x: ReturnType<Builder["input"]>) => ReturnType<Builder["input"]>) => {
  const builder = new Builder("g")
  const x = builder.input("x", "f32", ["n", 1])
  builder.output("y", make(builder, x))
  return lines(cancelReshape.run(builder.build()))
}

const inner = (b: Builder, x: ReturnType<Builder["input"]>) => b.unsqueeze(b.squeeze(b.unsqueeze(x, [0]), [0]), [0])

describe.each(passes)("$name", ({ run }) => {
  it.prop(
    "keeps the check's verdict, inputs and outputs, and changes nothing more when run again",
    [Steps],
    ([steps]) => {
      const before = deadNodes.run(random(steps))
      const once = run(before)
      assert.deepStrictEqual(check(once), [])
      assert.deepStrictEqual([once.inputs, once.outputs], [before.inputs, before.outputs])
      assert.deepStrictEqual(run(once), once)
    }
  )

  it("leaves the parts of a layer as they are: nothing in them is superfluous", () => {
    for (const graph of [pre(), cache(), post()]) assert.deepStrictEqual(run(graph), graph)
  })
})

describe("deadNodes", () => {
  it("removes nodes and initialisers that no output needs, and keeps inputs", () => {
    const builder = new Builder("g")
    const x = builder.input("x", "f32", ["n", 2])
    builder.input("unused", "f32", ["n"])
    builder.add(builder.tanh(x), builder.constant("c", "f32", [1], [1]))
    builder.output("first", builder.split(x, [1, 1], 1)[0] ?? x)
    const graph = deadNodes.run(builder.build())
    assert.deepStrictEqual(lines(graph), ["Split x sizes first split_0_1"])
    assert.deepStrictEqual(graph.initializers.map(({ name }) => name), ["sizes"])
    assert.strictEqual(graph.inputs.length, 2)
  })
})

describe("cancelReshape", () => {
  it("reads through Unsqueeze and Squeeze of the same axes", () => {
    assert.deepStrictEqual(simplified((b, x) => b.tanh(b.squeeze(b.unsqueeze(x, [0]), [0]))), ["Tanh x y"])
    assert.deepStrictEqual(simplified((b, x) => b.tanh(b.unsqueeze(b.squeeze(x, [1]), [1]))), ["Tanh x y"])
  })

  it("keeps pairs of different axes", () => {
    assert.strictEqual(simplified((b, x) => b.tanh(b.squeeze(b.unsqueeze(x, [0]), [2]))).length, 3)
  })

  it("gives the output's name to the node whose value it is", () => {
    assert.deepStrictEqual(simplified((b, x) => b.squeeze(b.unsqueeze(b.tanh(x), [0]), [0])), ["Tanh x y"])
    assert.deepStrictEqual(simplified((b, x) => b.op("Identity", [b.op("Identity", [b.tanh(x)])])), ["Tanh x y"])
  })

  it("keeps one Identity where an output is an input", () => {
    assert.deepStrictEqual(simplified((b, x) => b.squeeze(b.unsqueeze(x, [0]), [0])), ["Identity x y"])
  })

  it("undoes pairs inside pairs", () => {
    assert.deepStrictEqual(simplified((b, x) => b.squeeze(inner(b, b.tanh(x)), [0])), ["Tanh x y"])
  })
})

describe("simplify", () => {
  it.prop("changes nothing more when run again", [Steps], ([steps]) => {
    const once = simplify(random(steps))
    assert.deepStrictEqual(simplify(once), once)
    assert.deepStrictEqual(check(once), [])
  })
})
