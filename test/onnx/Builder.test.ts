import { assert, describe, it } from "@effect/vitest"
import { attribute, Builder } from "../../src/onnx/Builder.ts"
import { check } from "../../src/onnx/Check.ts"
import { typesOf } from "../../src/onnx/Infer.ts"
import { cache, post, pre, tensors } from "./Sample.ts"

const opsOf = (builder: Builder) => builder.build().nodes.map(({ op }) => op)

describe("Builder", () => {
  it("makes parts of a layer that pass the check", () => {
    for (const graph of [pre(), cache(), post()]) assert.deepStrictEqual(check(graph), [])
  })

  it("infers the types of outputs", () => {
    assert.deepStrictEqual(pre().outputs, [
      { name: "q", dtype: "f32", shape: ["tokens", 32] },
      { name: "k", dtype: "f32", shape: ["tokens", 16] },
      { name: "v", dtype: "f32", shape: ["tokens", 16] }
    ])
    assert.deepStrictEqual(cache().outputs, [{ name: "attended", dtype: "f32", shape: ["tokens", 32] }])
    assert.deepStrictEqual(post().outputs[1], { name: "token", dtype: "i64", shape: ["rows"] })
  })

  it("makes the same graph twice", () => {
    assert.deepStrictEqual(pre(), pre())
  })

  it("refers to a weight where the checkpoint has it, once", () => {
    const builder = new Builder("g")
    const weight = tensors()("w", [4, 8])
    const x = builder.input("x", "f32", ["tokens", 8])
    builder.output("y", builder.add(builder.linear(x, weight), builder.linear(x, weight)))
    assert.deepStrictEqual(builder.build().initializers, [{
      name: "w",
      dtype: "bf16",
      shape: [4, 8],
      data: { kind: "external", location: "weights/model-00001.safetensors", offset: 134, length: 64 }
    }])
    assert.deepStrictEqual(opsOf(builder), ["Cast", "Gemm", "Gemm", "Add"])
  })

  it("refuses one name for two weights, and bytes that do not fit the shape", () => {
    const builder = new Builder("g")
    const next = tensors()
    builder.weight(next("w", [4, 8]))
    assert.throws(() => builder.weight(next("w", [4, 8])), /two constants/)
    const wrong = next("v", [4])
    assert.throws(() => builder.weight({ ...wrong, shape: [5] }), /10 bytes, not 8/)
  })

  it("keeps equal constants once, whatever their names", () => {
    const builder = new Builder("g")
    assert.strictEqual(builder.constant("a", "i64", [2], [0, -1]).name, "a")
    assert.strictEqual(builder.constant("b", "i64", [2], [0, -1]).name, "a")
    assert.strictEqual(builder.constant("a", "i64", [2], [1, -1]).name, "a_0")
    assert.strictEqual(builder.constant("a", "f32", [1], [0]).name, "a_1")
  })

  it("names outputs without a node, and copies only what bears another name already", () => {
    const builder = new Builder("g")
    const x = builder.input("x", "f32", ["n"])
    const y = builder.tanh(x)
    builder.output("y", y)
    builder.output("again", y)
    builder.output("same", x)
    builder.output("one", builder.constant("c", "f32", [1], [1]))
    const graph = builder.build()
    assert.deepStrictEqual(graph.nodes.map(({ inputs, op, outputs }) => [op, ...inputs, ...outputs]), [
      ["Tanh", "x", "y"],
      ["Identity", "y", "again"],
      ["Identity", "x", "same"],
      ["Identity", "c", "one"]
    ])
    assert.deepStrictEqual(check(graph), [])
    assert.throws(() => builder.output("x", builder.tanh(y)), /taken/)
  })

  it("moves an inner value out of the way of an output's name", () => {
    const builder = new Builder("g")
    const inner = builder.tanh(builder.input("x", "f32", ["n"]))
    builder.output("tanh_0", builder.sigmoid(inner))
    assert.deepStrictEqual(builder.build().nodes.map(({ inputs, outputs }) => [...inputs, ...outputs]), [
      ["x", "tanh_0_inner"],
      ["tanh_0_inner", "tanh_0"]
    ])
  })

  it("infers reshapes with 0 and -1, symbols included", () => {
    const builder = new Builder("g")
    const x = builder.input("x", "f32", ["tokens", 48])
    const heads = builder.reshape(x, [0, -1, 16])
    assert.deepStrictEqual(heads.shape, ["tokens", 3, 16])
    const rows = builder.reshape(heads, [-1, 16])
    assert.deepStrictEqual(rows.shape, ["3*tokens", 16])
    assert.deepStrictEqual(builder.reshape(rows, [-1, 3, 16]).shape, ["tokens", 3, 16])
    assert.deepStrictEqual(builder.reshape(rows, [1, -1]).shape, [1, "48*tokens"])
    assert.throws(() => builder.reshape(x, [2, 48]), /cannot make \[2, 48\] of f32 \[tokens, 48\]/)
  })

  it("adds lengths that are joined", () => {
    const builder = new Builder("g")
    const [past, rows] = [builder.input("past", "f32", ["past", 4]), builder.input("rows", "f32", ["tokens", 4])]
    const joined = builder.concat([past, rows], 0)
    assert.deepStrictEqual(joined.shape, ["(past+tokens)", 4])
    assert.deepStrictEqual(builder.reshape(joined, [-1, 2]).shape, ["2*(past+tokens)", 2])
    assert.deepStrictEqual(builder.concat([rows, rows], 1).shape, ["tokens", 8])
  })

  it("throws where types do not fit", () => {
    const builder = new Builder("g")
    const x = builder.input("x", "f32", ["tokens", 8])
    const next = tensors()
    assert.throws(() => builder.linear(x, next("w", [4, 9])), /cannot multiply/)
    assert.throws(() => builder.add(x, builder.input("y", "f32", ["rows", 8])), /cannot broadcast/)
    assert.throws(() => builder.add(x, builder.input("z", "f16", ["tokens", 8])), /dtypes differ/)
    assert.throws(() => builder.split(x, [3, 4], 1), /do not cut/)
    assert.throws(() => builder.squeeze(x, [0]), /not 1/)
    assert.throws(() => builder.rmsNorm(x, builder.weight(next("n", [7])), 1e-5), /scale/)
    const k = builder.input("k3", "f32", [1, "context", 24])
    const q = builder.input("q3", "f32", [1, "tokens", 32])
    assert.throws(() => builder.attention(q, k, k, undefined, { qHeads: 4, kvHeads: 3, scale: 1 }), /4 and 3 heads/)
    assert.throws(() => builder.attention(q, k, k, undefined, { qHeads: 4, kvHeads: 2, scale: 1 }), /do not fit/)
    assert.throws(() => builder.op("Nonsense", [x]), /no type rule/)
    assert.throws(() => builder.tanh({ name: "elsewhere", dtype: "f32", shape: [] }), /not a value of g/)
  })

  it("takes the types of operators it does not know, and rounds floats to f32", () => {
    const builder = new Builder("g")
    const x = builder.input("x", "f32", ["tokens", 8])
    const y = builder.op("Swish", [x, undefined], { alpha: attribute.float(0.1) }, 1, { types: [x], name: "gate" })
    builder.output("y", y)
    const [node] = builder.build().nodes
    assert.deepStrictEqual(node, {
      op: "Swish",
      domain: "",
      name: "gate",
      inputs: ["x"],
      outputs: ["y"],
      attributes: { alpha: { kind: "float", value: Math.fround(0.1) } }
    })
  })
})

describe("typesOf", () => {
  it("finds again what the builder inferred", () => {
    for (const graph of [pre(), cache(), post()]) {
      const types = typesOf(graph)
      for (const { dtype, name, shape } of graph.outputs) {
        assert.deepStrictEqual([types.get(name)?.dtype, types.get(name)?.shape], [dtype, shape])
      }
    }
  })
})
