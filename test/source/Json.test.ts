import { assert, describe, it } from "@effect/vitest"
import { Result, Schema } from "effect"
import { parse } from "../../src/source/Json.ts"

const problemOf = (text: string, numbers?: "whole" | "json" | "python") => {
  const result = parse(text, numbers)
  assert.isTrue(Result.isFailure(result), `${text} was taken`)
  return Result.isFailure(result) ? result.failure : { line: 0, column: 0, problem: "" }
}

describe("parse", () => {
  it.prop("reads what JSON.stringify writes", [Schema.Record(
    Schema.String,
    Schema.Union([
      Schema.Array(Schema.Finite),
      Schema.Array(Schema.NullOr(Schema.Boolean)),
      Schema.Record(Schema.String, Schema.String)
    ])
  )], ([value]) => {
    const text = JSON.stringify(value, undefined, 1)
    const whole = JSON.parse(text)
    // half surrogate pairs are written as escapes, and refused
    if (text.includes("\\ud")) return
    assert.deepStrictEqual(parse(text), Result.succeed(whole))
  })

  it.prop("agrees with JSON.parse on every text that it takes", [Schema.String, Schema.Int], ([noise, at]) => {
    const sample = "{\"a\": [1, -2.5e3, true, null, \"\\u00e9\\n\"], \"b\": {\"c\": \"d\"}}"
    const place = Math.abs(at) % sample.length
    const text = sample.slice(0, place) + noise + sample.slice(place + (at % 2 === 0 ? noise.length : 0))
    const ours = parse(text)
    if (Result.isSuccess(ours)) assert.deepStrictEqual(ours.success, JSON.parse(text))
  })

  it("reads every kind of value and escape", () => {
    const text =
      " {\"a\":[0,-1,2.5,1e3,true,false,null],\"\\u00fc\":\"\\\"\\\\\\/\\b\\f\\n\\r\\t\\ud83d\\ude00\",\"e\":{},\"f\":[]}\n"
    assert.deepStrictEqual(parse(text), Result.succeed(JSON.parse(text)))
  })

  it("keeps a key called __proto__", () => {
    const value = Result.getOrThrow(parse("{\"__proto__\": {\"polluted\": 1}}"))
    assert.deepStrictEqual(Object.entries(Object(value)), [["__proto__", { polluted: 1 }]])
    assert.isUndefined(Object({}).polluted)
  })

  it("refuses a key that is there twice, with both values and the place", () => {
    assert.deepStrictEqual(problemOf("{\n  \"hidden_size\": 16,\n  \"hidden_size\": 32\n}"), {
      line: 3,
      column: 3,
      problem: "the key \"hidden_size\" is there twice, with 16 and then with 32"
    })
    assert.include(problemOf("{\"__proto__\": 1, \"__proto__\": 2}").problem, "twice")
    assert.include(problemOf("{\"a\": 1, \"\\u0061\": 2}").problem, "twice")
  })

  it("says where a text stops being JSON", () => {
    assert.deepStrictEqual(problemOf("{\n  \"a\": 1\n  \"b\": 2\n}"), {
      line: 3,
      column: 3,
      problem: "expected \",\" or \"}\", found \"\\\"\""
    })
    assert.deepStrictEqual(problemOf("[1, 2"), {
      line: 1,
      column: 6,
      problem: "expected \",\" or \"]\", found the end"
    })
  })

  it.each([
    "",
    " ",
    "{",
    "[1,]",
    "{\"a\":1,}",
    "{a:1}",
    "{'a':1}",
    "[01]",
    "[1.]",
    "[.5]",
    "[+1]",
    "[1e]",
    "[NaN]",
    "[-Infinity]",
    "[1e999]",
    "\"a\nb\"",
    "\"\\x\"",
    "\"\\u12g4\"",
    "\"\\ud800\"",
    "\"open",
    "nul",
    "1 2",
    "{} // comment",
    "\uFEFF{}"
  ])("refuses %j", (text) => {
    problemOf(text)
  })

  it("takes Python's NaN and infinities only where told so", () => {
    assert.deepStrictEqual(
      parse("[NaN, Infinity, -Infinity, -1.5]", "python"),
      Result.succeed([NaN, Infinity, -Infinity, -1.5])
    )
    problemOf("[Infinity]", "json")
  })

  it("takes only whole numbers where told so", () => {
    assert.deepStrictEqual(parse("[0, -4, 9007199254740992]", "whole"), Result.succeed([0, -4, 9007199254740992]))
    assert.include(problemOf("[4.0]", "whole").problem, "expected a whole number, found 4.0")
    problemOf("[1e2]", "whole")
    problemOf("[-0]", "whole")
  })

  it("refuses 65 levels, and a million, without running out of stack", () => {
    assert.isTrue(Result.isSuccess(parse("[".repeat(64) + "]".repeat(64))))
    assert.include(problemOf("[".repeat(65) + "]".repeat(65)).problem, "64 levels")
    assert.include(problemOf("{\"a\":".repeat(1_000_000)).problem, "64 levels")
  })
})
