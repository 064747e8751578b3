import { assert, describe, it } from "@effect/vitest"
import { Result } from "effect"
import { idsOf } from "../../src/cli/PromptIds.ts"

describe("idsOf", () => {
  it("reads token ids", () => {
    assert.deepStrictEqual(idsOf(" [1, 0,\n 3]"), Result.succeed([1, 0, 3]))
    assert.deepStrictEqual(idsOf("[]"), Result.succeed([]))
  })

  it.each([
    ["[\"a\"]", "a string at [0]"],
    ["[1, -2]", "-2 at [1]"],
    ["[1.5]", "1.5 at [0]"],
    ["[[1]]", "an array at [0]"],
    ["{}", "an object"],
    ["null", "null"],
    ["[1,", "no JSON: unexpected end at 3"],
    ["[1", "no JSON: unexpected end at 2"],
    ["", "no JSON: unexpected end at 0"]
  ])("says what is wrong with %j", (text, found) => {
    assert.deepStrictEqual(idsOf(text), Result.fail(found))
  })

  it("is told of bad JSON in one line", () => {
    const found = Result.getOrElse(Result.flip(idsOf("[1,\n x]")), () => "")
    assert.match(found, /^no JSON: \S.*x/)
    assert.notInclude(found, "\n")
  })
})
