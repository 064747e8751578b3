import { assert, describe, it } from "@effect/vitest"
import { broadcast, productOf, quotientOf, sumOf } from "../../src/onnx/Dims.ts"

describe("productOf", () => {
  it("multiplies numbers and sorts names", () => {
    assert.strictEqual(productOf([2, 3]), 6)
    assert.strictEqual(productOf([]), 1)
    assert.strictEqual(productOf(["tokens", 3, "batch"]), "3*batch*tokens")
    assert.strictEqual(productOf(["tokens", 0]), "0*tokens")
  })

  it("knows its own names again", () => {
    assert.strictEqual(productOf(["3*tokens", "tokens/3"]), "tokens*tokens")
    assert.strictEqual(productOf(["(past+tokens)", 2]), "2*(past+tokens)")
  })
})

describe("quotientOf", () => {
  it("divides numbers and crosses names out", () => {
    assert.strictEqual(quotientOf([12, 5], [4]), 15)
    assert.strictEqual(quotientOf(["tokens", 48], ["tokens", 16]), 3)
    assert.strictEqual(quotientOf(["tokens", 48], [16]), "3*tokens")
    assert.strictEqual(quotientOf(["tokens"], [4]), "tokens/4")
    assert.strictEqual(quotientOf(["2*(past+tokens)"], [2]), "(past+tokens)")
  })

  it("is undefined where numbers do not divide, a name is missing, or the divisor is 0", () => {
    assert.isUndefined(quotientOf([7], [2]))
    assert.isUndefined(quotientOf(["tokens", 4], ["rows"]))
    assert.isUndefined(quotientOf(["tokens"], ["tokens", "tokens"]))
    assert.isUndefined(quotientOf([4], [0]))
  })
})

describe("sumOf", () => {
  it("adds numbers, and names beside them", () => {
    assert.strictEqual(sumOf([2, 3]), 5)
    assert.strictEqual(sumOf(["past", 0]), "past")
    assert.strictEqual(sumOf(["past", "past"]), "2*past")
    assert.strictEqual(sumOf(["past", 1]), "(past+1)")
    assert.strictEqual(sumOf(["past", "tokens"]), "(past+tokens)")
  })

  it("knows its own sums again", () => {
    assert.strictEqual(sumOf([sumOf(["tokens", 2]), -2]), "tokens")
    assert.strictEqual(sumOf([sumOf(["tokens", -3]), 1]), "(tokens+-2)")
    assert.strictEqual(sumOf([sumOf(["past", "tokens"]), "tokens", 1]), "(past+tokens+tokens+1)")
  })
})

describe("broadcast", () => {
  it("aligns shapes at the last dimension", () => {
    assert.deepStrictEqual(broadcast([["tokens", 4], [4]]), ["tokens", 4])
    assert.deepStrictEqual(broadcast([[1, "tokens", 1], ["batch", 1, 8]]), ["batch", "tokens", 8])
    assert.deepStrictEqual(broadcast([["tokens"], [8]]), [8])
    assert.deepStrictEqual(broadcast([[], []]), [])
  })

  it("is undefined where two dimensions differ", () => {
    assert.isUndefined(broadcast([[4], [5]]))
    assert.isUndefined(broadcast([["tokens"], ["rows"]]))
  })
})
