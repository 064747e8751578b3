import { assert, describe, it } from "@effect/vitest"
import type { Graph } from "../../src/onnx/Graph.ts"
import { differenceOf, divergenceOf, faultOf } from "../../src/verify/Compare.ts"
import { beside, severed } from "../../src/verify/Head.ts"
import { chunked, placed, withLogits } from "../../src/verify/Reference.ts"
import { arithmetics, divergences, kinds, thresholds } from "../../src/verify/Thresholds.ts"

const f32 = (...numbers: ReadonlyArray<number>) => Float32Array.from(numbers)

describe("differenceOf", () => {
  it("is the mean over rows of the relative error, and the largest difference", () => {
    // rows (3, 4) and (0, 10): errors 5/5 and 1/10
    assert.deepStrictEqual(differenceOf(f32(0, 0, 1, 10), f32(3, 4, 0, 10), 2), { error: (1 + 0.1) / 2, largest: 4 })
  })

  it("counts a row of small numbers as much as one of large ones", () => {
    const { error } = differenceOf(f32(1e6, 0, 0, 0), f32(1e6, 0, 1, 0), 2)
    assert.strictEqual(error, 0.5)
  })

  it("is relative to what was added, where the numbers before are known", () => {
    assert.strictEqual(differenceOf(f32(101), f32(102), 1, f32(100)).error, 0.5)
  })

  it("takes the norm itself where zeros were expected", () => {
    assert.strictEqual(differenceOf(f32(3, 4), f32(0, 0), 2).error, 5)
  })
})

describe("faultOf", () => {
  it("names the first number that is not finite", () => {
    assert.deepStrictEqual(faultOf(f32(1, NaN, Infinity), f32(1, 1, 1)), { index: 1, found: "NaN" })
    assert.deepStrictEqual(faultOf(f32(1, 1, -Infinity), f32(1, 1, 1)), { index: 2, found: "-Infinity" })
  })

  it("sees zeros alone, unless they are right", () => {
    assert.deepStrictEqual(faultOf(f32(0, 0), f32(0, 1)), { index: 0, found: "zeros" })
    assert.isUndefined(faultOf(f32(0, 0), f32(0, 0)))
    assert.isUndefined(faultOf(f32(0, 1), f32(2, 1)))
  })
})

describe("divergenceOf", () => {
  it("is the mean KL of the rows, whatever is added to all logits of a row", () => {
    const { agreeing, kl, rows } = divergenceOf(f32(5, 5, 7, 7 + Math.log(3)), f32(0, Math.log(3), 0, Math.log(3)), 2)
    // KL((¼, ¾) ‖ (½, ½)) = ¼ ln ½ + ¾ ln 1½
    assert.closeTo(kl, (0.25 * Math.log(0.5) + 0.75 * Math.log(1.5)) / 2, 1e-6)
    assert.deepStrictEqual({ agreeing, rows }, { agreeing: 1, rows: 2 })
  })
})

describe("thresholds", () => {
  it("leave a sound build room, and say why they are what they are", () => {
    const all = arithmetics.flatMap((arithmetic) => [
      ...kinds.map((kind) => thresholds[arithmetic][kind]),
      divergences[arithmetic]
    ])
    for (const { limit, measured, reason } of all) {
      assert.isAtLeast(limit, 1.5 * measured)
      assert.isAbove(limit, 0)
      assert.isNotEmpty(reason)
    }
  })

  it("grow as numbers get coarser", () => {
    for (const kind of kinds) {
      const limits = arithmetics.map((arithmetic) => thresholds[arithmetic][kind].limit)
      assert.deepStrictEqual(limits, limits.toSorted((a, b) => a - b))
    }
  })
})

const product: Graph = {
  name: "product",
  opset: 23,
  inputs: [{ name: "x", dtype: "f32", shape: ["rows", 4] }],
  outputs: [{ name: "token", dtype: "i64", shape: ["rows"] }],
  nodes: [
    {
      op: "Cast",
      domain: "",
      name: "cast",
      inputs: ["w"],
      outputs: ["w_f32"],
      attributes: { to: { kind: "int", value: 1 } }
    },
    {
      op: "Gemm",
      domain: "",
      name: "gemm",
      inputs: ["x", "w_f32"],
      outputs: ["logits"],
      attributes: { transB: { kind: "int", value: 1 } }
    },
    { op: "ArgMax", domain: "", name: "token", inputs: ["logits"], outputs: ["token"], attributes: {} }
  ],
  initializers: [{
    name: "w",
    dtype: "bf16",
    shape: [5, 4],
    data: { kind: "external", location: "weights/w", offset: 16, length: 40 }
  }],
  metadata: {}
}

describe("chunked", () => {
  it("cuts a matrix into runs of rows that together are the whole, and leaves small ones alone", () => {
    const { initializers, nodes } = chunked(product, 2 * 4 * 4)
    const ranges = initializers.map((
      { data, shape }
    ) => [shape, data.kind === "external" ? [data.offset, data.length] : []])
    assert.deepStrictEqual(ranges, [[[2, 4], [16, 16]], [[2, 4], [32, 16]], [[1, 4], [48, 8]]])
    assert.deepStrictEqual(nodes.map(({ op }) => op), [
      "Cast",
      "Gemm",
      "Cast",
      "Gemm",
      "Cast",
      "Gemm",
      "Concat",
      "ArgMax"
    ])
    assert.deepStrictEqual(chunked(product, 1000), product)
  })
})

describe("placed", () => {
  it("reads a weight elsewhere, in the format that it has there", () => {
    const { initializers } = placed(product, () => ({ location: "a/b", offset: 8, dtype: "f32" }))
    assert.deepInclude(initializers[0], {
      dtype: "f32",
      data: { kind: "external", location: "a/b", offset: 8, length: 80 }
    })
  })
})

describe("withLogits", () => {
  it("gives the distribution in place of the token", () => {
    assert.deepStrictEqual(withLogits(product).outputs.map(({ name }) => name), ["logits"])
  })
})

const bits = (name: string, dtype: "u8" | "f16", shape: ReadonlyArray<number>) => ({
  name,
  dtype,
  shape,
  data: {
    kind: "external" as const,
    location: "w",
    offset: 0,
    length: shape.reduce((a, b) => a * b, dtype === "u8" ? 1 : 2)
  }
})

describe("severed", () => {
  it("cuts the last product out of a graph by rows of its matrix, with what is before and behind it", () => {
    const parts = severed(product, 2 * 4 * 2)
    assert.deepStrictEqual(parts?.pieces.map(({ initializers }) => initializers.map(({ shape }) => shape)), [
      [[2, 4]],
      [[2, 4]],
      [[1, 4]]
    ])
    assert.deepStrictEqual(parts?.body.outputs.map(({ name }) => name), ["x"])
    assert.isEmpty(parts?.body.initializers)
    assert.deepStrictEqual(parts?.tail?.nodes.map(({ op }) => op), ["ArgMax"])
    assert.deepStrictEqual(parts?.tail?.inputs.map(({ name }) => name), ["logits"])
  })

  it("leaves alone what is small, and what is added to something from before", () => {
    assert.isUndefined(severed(product, 40))
    const [cast, gemm] = product.nodes
    const add = {
      op: "Add",
      domain: "",
      name: "add",
      inputs: ["y", "logits"],
      outputs: ["sum"],
      attributes: {}
    } as const
    const abs = { op: "Abs", domain: "", name: "abs", inputs: ["x"], outputs: ["y"], attributes: {} } as const
    const sum = { name: "sum", dtype: "f32", shape: ["rows", 5] } as const
    const residual = { ...product, outputs: [sum], nodes: [abs, cast, gemm, add].filter((node) => node !== undefined) }
    assert.isUndefined(severed(residual, 8))
  })

  it("cuts codes and scales alike", () => {
    const coded: Graph = {
      ...product,
      nodes: [{
        op: "MatMulNBits",
        domain: "com.microsoft",
        name: "product",
        inputs: ["x", "codes", "scales"],
        outputs: ["logits"],
        attributes: { N: { kind: "int", value: 5 }, K: { kind: "int", value: 64 } }
      }],
      outputs: [{ name: "logits", dtype: "f32", shape: ["rows", 5] }],
      initializers: [bits("codes", "u8", [5, 2, 16]), bits("scales", "f16", [10])]
    }
    const parts = severed(coded, 100)
    assert.deepStrictEqual(
      parts?.pieces.map(({ initializers, nodes }) => [
        nodes[0]?.attributes["N"]?.value,
        ...initializers.map(({ data, shape }) => [shape[0], data.kind === "external" ? data.offset : -1])
      ]),
      [[3, [3, 0], [6, 0]], [2, [2, 96], [4, 12]]]
    )
    assert.isUndefined(parts?.tail)
  })
})

describe("beside", () => {
  it("puts matrices side by side", () => {
    assert.deepStrictEqual(beside([f32(1, 2, 3, 4), f32(5, 6)], 2), f32(1, 2, 5, 3, 4, 6))
  })
})
