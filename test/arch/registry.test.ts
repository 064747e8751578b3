import { assert, describe, it } from "@effect/vitest"
import { readdirSync } from "node:fs"
import { join } from "node:path"
import { architectures, familyNames, find } from "../../src/arch/registry.ts"
import { caseNames, readCase } from "./Case.ts"

const folder = join(import.meta.dirname, "../../src/arch")

describe("architectures", () => {
  it("are the files of the folder, each named as its model_type", () => {
    const files = readdirSync(folder).filter((name) => /^[a-z].*\.ts$/.test(name) && name !== "registry.ts")
    assert.deepStrictEqual(files.sort(), architectures.map(({ name }) => `${name}.ts`).sort())
  })

  it("have a fixture each", () => {
    const tested = new Set(caseNames.map((name) => readCase(name).config.model_type))
    assert.deepStrictEqual([...tested].sort(), architectures.map(({ name }) => name).sort())
  })
})

describe("familyNames", () => {
  it("lists each name once", () => {
    const names = familyNames()
    assert.strictEqual(new Set(names).size, names.length)
  })
})

describe("find", () => {
  it("finds every name, and nothing else", () => {
    for (const name of familyNames()) assert.isDefined(find(name))
    for (const name of ["", "Llama", "toString", "quasar"]) assert.isUndefined(find(name))
  })
})

describe.each(architectures)("$name", ({ name, read }) => {
  it("refuses what is no config, with problems", () => {
    for (const config of [null, undefined, 1, "x", [], {}, { hidden_size: {} }]) {
      const result = read(config)
      assert.isTrue(result._tag === "Failure" && result.failure.length > 0, `${name} of ${JSON.stringify(config)}`)
    }
  })
})
