import { assert, describe, it } from "@effect/vitest"
import { provenanceLines } from "../../src/cli/InspectBuild.ts"
import { provenance } from "../stage/provenance.ts"

describe("provenanceLines", () => {
  it("counts numbers as the summary of a build does", () => {
    const [size] = provenance.weights
    const weights = size === undefined ? [] : [49_000, 134_500_000].map((weights) => ({ ...size, weights }))
    const lines = provenanceLines({ ...provenance, weights }).filter((line) => line.startsWith("BF16"))
    assert.deepStrictEqual(lines.map((line) => line.split(/\s{2,}/)[1]), ["49.0 K", "134.5 M"])
  })
})
