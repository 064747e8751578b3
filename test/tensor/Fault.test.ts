import { assert, describe, it } from "@effect/vitest"
import { PlatformError } from "effect"
import { codeOf, faultOf, quoted } from "../../src/tensor/Fault.ts"

const platform = (tag: "NotFound" | "BadResource" | "Unknown", code?: string) =>
  PlatformError.systemError({
    _tag: tag,
    module: "FileSystem",
    method: "open",
    cause: code === undefined ? undefined : Object.assign(new Error(`${code}: bad`), { code })
  })

describe("faultOf", () => {
  it.each([
    [platform("BadResource", "ENOTDIR"), "a file stands where a folder belongs"],
    [platform("BadResource", "EISDIR"), "a folder stands where a file belongs"],
    [platform("NotFound"), "there is no such file or folder"],
    [Object.assign(new Error("x"), { code: "EACCES" }), "permission denied"],
    [Object.assign(new Error("x"), { code: "ENOSPC" }), "no space left on the disk"],
    [platform("Unknown", "EWEIRD"), "EWEIRD"],
    [new Error("first\nsecond"), "first second"]
  ])("tells %s", (error, expected) => {
    assert.strictEqual(faultOf(error), expected)
  })
})

describe("codeOf", () => {
  it("looks into causes, and gives nothing where there is none", () => {
    assert.strictEqual(codeOf({ cause: { reason: { cause: { code: "EIO" } } } }), "EIO")
    assert.strictEqual(codeOf(undefined), "")
    assert.strictEqual(codeOf(new Error("x")), "")
  })
})

describe("quoted", () => {
  it("is one printable line of at most 120 characters", () => {
    assert.strictEqual(quoted("  a\n\tb  "), "a b")
    assert.strictEqual(quoted("a\u0000\u001b[31m"), "a\ufffd\ufffd[31m")
    const long = quoted("😀".repeat(5000))
    assert.strictEqual(Array.from(long).length, 120)
    assert.isTrue(long.endsWith("…"))
  })
})
