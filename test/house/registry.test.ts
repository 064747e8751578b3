import { assert, describe, it } from "@effect/vitest"
import { readdirSync } from "node:fs"
import { resolve } from "node:path"
import { architectures } from "../../src/arch/registry.ts"
import { passes } from "../../src/onnx/pass/registry.ts"
import { schemes } from "../../src/quantize/scheme/registry.ts"
import { stages } from "../../src/stage/registry.ts"

const registries: ReadonlyArray<{
  readonly folder: string
  readonly names: ReadonlyArray<string>
}> = [
  { folder: "arch", names: architectures.map(({ name }) => name) },
  { folder: "onnx/pass", names: passes.map(({ name }) => name) },
  { folder: "quantize/scheme", names: schemes.map(({ name }) => name) },
  { folder: "stage", names: stages.map(({ name }) => name) }
]

/** Entries are the files that begin with a small letter; concepts begin with a capital. */
const entries = (folder: string): ReadonlyArray<string> =>
  readdirSync(resolve(import.meta.dirname, "../../src", folder))
    .filter((name) => /^[a-z].*\.ts$/.test(name) && name !== "registry.ts")
    .map((name) => name.replace(/\.ts$/, ""))
    .sort()

describe.each(registries)("the registry of $folder", ({ folder, names }) => {
  it("has every entry of its folder, named as its file", () => {
    assert.deepStrictEqual(names.map((name) => name.toLowerCase()).sort(), entries(folder))
  })
})
