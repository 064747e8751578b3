import { assert, describe, it } from "@effect/vitest"
import { check, inlineLimit, type Problem } from "../../src/onnx/Check.ts"
import type { Graph, Initializer, Node } from "../../src/onnx/Graph.ts"

const node = (
  op: string,
  inputs: ReadonlyArray<string>,
  outputs: ReadonlyArray<string>,
  domain: Node["domain"] = ""
): Node => ({ op, domain, name: `${op} node`, inputs, outputs, attributes: {} })
const external = (location: string, length = 8, offset = 0): Initializer => ({
  name: "w",
  dtype: "f32",
  shape: [2],
  data: { kind: "external", location, offset, length }
})

/** y = x + w */
const sound: Graph = {
  name: "g",
  opset: 23,
  inputs: [{ name: "x", dtype: "f32", shape: ["n", 2] }],
  outputs: [{ name: "y", dtype: "f32", shape: ["n", 2] }],
  nodes: [node("Add", ["x", "w"], ["y"])],
  initializers: [external("weights/a.safetensors")],
  metadata: {}
}

const only = (graph: Partial<Graph>, options = {}): Problem => {
  const problems = check({ ...sound, ...graph }, options)
  assert.strictEqual(problems.length, 1, JSON.stringify(problems))
  return problems[0] ?? { at: "", expected: "", found: "" }
}

const inline = (bytes: number): Initializer => ({
  name: "w",
  dtype: "u8",
  shape: [bytes],
  data: { kind: "inline", bytes: new Uint8Array(bytes) }
})

describe("check", () => {
  it("says nothing of a sound graph", () => {
    assert.deepStrictEqual(check(sound), [])
  })

  it("finds a name with two origins", () => {
    assert.include(only({ nodes: [...sound.nodes, node("Neg", ["x"], ["y"])] }), { at: "y", expected: "one origin" })
    assert.include(only({ inputs: [...sound.inputs, ...sound.inputs] }), { at: "x" })
  })

  it("finds a node that stands before what it reads", () => {
    const nodes = [node("Add", ["t", "w"], ["y"]), node("Neg", ["x"], ["t"])]
    assert.deepStrictEqual(only({ nodes }), { at: "Add node", expected: "inputs that are defined before", found: "t" })
  })

  it("finds outputs that nobody makes, come twice, or are missing", () => {
    assert.include(only({ outputs: [...sound.outputs, { name: "z", dtype: "f32", shape: [1] }] }), { at: "z" })
    assert.include(only({ outputs: [...sound.outputs, ...sound.outputs] }), { at: "y", found: "the name again" })
    assert.include(only({ outputs: [] }), { at: "g", expected: "an output" })
  })

  it("finds an initialiser that nobody reads", () => {
    assert.include(only({ nodes: [node("Neg", ["x"], ["y"])] }), { at: "w", found: "none" })
  })

  it("takes standard operators only, and MatMulNBits when asked", () => {
    assert.include(only({ nodes: [node("SkipNorm", ["x", "w"], ["y"])] }), { found: "SkipNorm" })
    const nodes = [node("MatMulNBits", ["x", "w"], ["y"], "com.microsoft")]
    assert.include(only({ nodes }), { found: "com.microsoft.MatMulNBits" })
    assert.deepStrictEqual(check({ ...sound, nodes }, { matMulNBits: true }), [])
    assert.include(only({ nodes: [node("MatMulNBits", ["x", "w"], ["y"])] }, { matMulNBits: true }), {
      found: "MatMulNBits"
    })
    assert.include(only({ nodes: [node("Attention", ["x", "w"], ["y"], "com.microsoft")] }, { matMulNBits: true }), {
      at: "Attention node"
    })
  })

  it.each(["", "/etc/passwd", "C:/w", "../w", "weights/../../w", "./w", "weights//w", "weights\\w", "w\0"])(
    "refuses the location %j",
    (location) => {
      assert.include(only({ initializers: [external(location)] }), {
        at: "w",
        expected: "a relative location inside the folder"
      })
    }
  )

  it.each(["w", "weights/a..b.bin", "weights/model 1.gguf"])("takes the location %j", (location) => {
    assert.deepStrictEqual(check({ ...sound, initializers: [external(location)] }), [])
  })

  it("finds bytes that do not fit the shape, and offsets that are none", () => {
    assert.include(only({ initializers: [external("w", 7)] }), { expected: "8 bytes (f32 [2])", found: "7" })
    assert.include(only({ initializers: [external("w", 8, -1)] }), { found: "-1, 8" })
    assert.include(only({ initializers: [external("w", 8, 0.5)] }), { found: "0.5, 8" })
    const packed: Initializer = {
      name: "w",
      dtype: "u4",
      shape: [3],
      data: { kind: "inline", bytes: new Uint8Array(2) }
    }
    assert.deepStrictEqual(check({ ...sound, initializers: [packed] }), [])
  })

  it("finds weights inside the file", () => {
    assert.deepStrictEqual(check({ ...sound, initializers: [inline(inlineLimit)] }), [])
    assert.include(only({ initializers: [inline(inlineLimit + 1)] }), { found: `${inlineLimit + 1}` })
  })

  it("finds dimensions without a name or of nothing", () => {
    assert.include(only({ inputs: [{ name: "x", dtype: "f32", shape: ["", 2] }] }), { at: "x" })
    assert.include(only({ outputs: [{ name: "y", dtype: "f32", shape: [0] }] }), { at: "y", found: "[0]" })
  })
})
