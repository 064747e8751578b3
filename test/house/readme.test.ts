import { assert, describe, it } from "@effect/vitest"
import { spawnSync } from "node:child_process"
import { resolve } from "node:path"

describe("README.md", () => {
  it("has the table of families that the registry gives", () => {
    const script = resolve(import.meta.dirname, "../../scripts/readme.mjs")
    const { status, stderr } = spawnSync(process.execPath, [script, "--check"], { encoding: "utf8" })
    assert.strictEqual(status, 0, stderr)
  })
})
