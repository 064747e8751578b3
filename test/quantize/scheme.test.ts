import { assert, describe, it } from "@effect/vitest"
import { precisions } from "../../src/plan/Precision.ts"
import { schemeOf, schemes } from "../../src/quantize/scheme/registry.ts"
import { bitsOf } from "../../src/quantize/scheme/Scheme.ts"
import { encodeFloats } from "../../src/tensor/Float.ts"
import { runKernel } from "./Run.ts"

describe.each(schemes)("scheme $name", (scheme) => {
  it("belongs to one precision of the configuration file", () => {
    assert.include(precisions, scheme.precision)
    assert.strictEqual(schemeOf(scheme.precision), scheme)
  })

  it("keeps at least 8 bits for the head", () => {
    assert.strictEqual(bitsOf(scheme, "lm_head.weight", "lm_head.weight"), 8)
    assert.strictEqual(bitsOf(scheme, "q_proj.weight", "lm_head.weight"), scheme.bits)
  })

  it("has the kernels' zero point: the code of 0", () => {
    const block = encodeFloats("f32", Float32Array.from({ length: scheme.block }, (_, i) => i === 0 ? 1 : 0))
    const { codes } = runKernel(scheme.bits === 4 ? "int4" : "int8", "f32", block, 1, scheme.block)
    const last = codes.at(-1) ?? -1
    assert.strictEqual(scheme.bits === 4 ? last >> 4 : last, scheme.zeroPoint)
  })
})

describe("schemeOf", () => {
  it("has none for precisions that keep the weights", () => {
    assert.isUndefined(schemeOf("BF16"))
  })
})
