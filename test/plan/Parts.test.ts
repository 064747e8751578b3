import { assert, describe, it } from "@effect/vitest"
import { decoderPrograms, numberRanges, programName } from "../../src/plan/Parts.ts"

describe("decoderPrograms", () => {
  it("has three parts of an attention layer and one of a convolution layer, prefill before decode", () => {
    assert.deepStrictEqual(decoderPrograms([{ kind: "convolution" }, { kind: "attention" }]).map(programName), [
      "group_conv_0",
      "single_conv_0",
      "group_pre_1",
      "group_cache_1",
      "group_post_1",
      "single_pre_1",
      "single_cache_1",
      "single_post_1"
    ])
  })
})

describe("numberRanges", () => {
  it("joins neighbours", () => assert.strictEqual(numberRanges([0, 1, 2, 5, 7, 8]), "0-2, 5, 7-8"))
})
