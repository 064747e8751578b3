import { assert, describe, it } from "@effect/vitest"
import { programRanges } from "../../src/run/ProgramRanges.ts"

const programs = (phases: ReadonlyArray<string>, parts: ReadonlyArray<string>, layers: ReadonlyArray<number>) =>
  layers.flatMap((layer) => phases.flatMap((phase) => parts.map((part) => `${phase}_${part}_${layer}`)))

const from = (first: number, last: number) => Array.from({ length: last - first + 1 }, (_, i) => first + i)

describe("programRanges", () => {
  it.each([
    [programs(["group", "single"], ["cache"], from(4, 29)), "CACHE of layers 4-29, prefill and decode"],
    [
      programs(["group", "single"], ["pre", "cache", "post"], [0]),
      "PRE, CACHE and POST of layer 0, prefill and decode"
    ],
    [
      [...programs(["group"], ["pre"], [...from(0, 2), 7]), ...programs(["single"], ["pre"], [5])],
      "PRE of layers 0-2, 7, prefill; PRE of layer 5, decode"
    ],
    [["vision"], "vision"]
  ])("tells %#", (names, expected) => {
    assert.strictEqual(programRanges(names), expected)
  })
})
