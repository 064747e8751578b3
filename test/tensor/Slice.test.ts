import { assert, describe, it } from "@effect/vitest"
import { storedOf, tensorIn } from "../../src/tensor/Slice.ts"
import type { Tensor } from "../../src/tensor/Tensor.ts"

const experts: Tensor = {
  name: "experts",
  dtype: "bf16",
  shape: [4, 3, 5],
  range: { file: "/model.safetensors", offset: 100, length: 120 }
}
const slice = (at: number) => ({ name: `experts.${at}`, shape: [3, 5], within: { name: "experts", at, count: 4 } })

describe("storedOf", () => {
  it("names a tensor that holds several once, in its whole shape", () => {
    assert.deepStrictEqual(storedOf([{ name: "norm", shape: [3] }, slice(0), slice(1)]), [
      { name: "norm", shape: [3] },
      { name: "experts", shape: [4, 3, 5] }
    ])
  })
})

describe("tensorIn", () => {
  const tensors = new Map([["experts", experts]])
  it("cuts out the bytes of one", () => {
    assert.deepStrictEqual(tensorIn(tensors, slice(2)), {
      name: "experts.2",
      dtype: "bf16",
      shape: [3, 5],
      range: { file: "/model.safetensors", offset: 160, length: 30 }
    })
  })
  it("gives a stored tensor as it is, and nothing for one that is not there", () => {
    assert.strictEqual(tensorIn(tensors, { name: "experts", shape: [4, 3, 5] }), experts)
    assert.isUndefined(tensorIn(new Map(), slice(2)))
  })
})
