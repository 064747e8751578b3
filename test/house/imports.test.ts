import { assert, describe, it } from "@effect/vitest"
import { readdirSync, readFileSync, statSync } from "node:fs"
import { dirname, join, relative, resolve } from "node:path"

const src = resolve(import.meta.dirname, "../../src")

/** The table of ARCHITECTURE.md: what a folder may import beside itself and `tensor`. */
const table: Readonly<Record<string, ReadonlyArray<string>>> = {
  tensor: [],
  source: [],
  onnx: [],
  pack: [],
  arch: ["onnx"],
  quantize: ["onnx"],
  verify: ["onnx"],
  target: ["onnx", "quantize", "pack"],
  devkit: ["arch"],
  plan: ["source", "onnx", "arch", "quantize", "target"],
  run: ["onnx", "target", "devkit", "verify"],
  stage: ["source", "onnx", "arch", "quantize", "target", "pack", "devkit", "plan", "verify", "run"],
  cli: ["plan", "target", "stage", "verify", "run", "source", "devkit"],
  bin: ["cli", "stage", "plan", "target", "run", "quantize", "verify", "source"]
}

/** Files at the root of src: the library's entries, which gather everything. */
const entries = new Set(["index.ts", "testing.ts"])

const files = (folder: string): ReadonlyArray<string> =>
  readdirSync(folder).flatMap((name) => {
    const path = join(folder, name)
    if (statSync(path).isDirectory()) return name === "assembly" ? [] : files(path)
    return name.endsWith(".ts") ? [path] : []
  })

/** Examples in docstrings import what their reader has; they do not count. */
const code = (path: string): string => readFileSync(path, "utf8").replaceAll(/\/\*\*[\s\S]*?\*\//g, "")

const imports = (path: string): ReadonlyArray<string> =>
  Array.from(code(path).matchAll(/(?:from|import)\s*\(?\s*"([^"]+)"/g), (match) => match[1] ?? "")

describe("imports", () => {
  const sources = files(src)

  it("knows every folder", () => {
    const folders = new Set(
      sources.map((path) => relative(src, path).split("/")).filter((p) => p.length > 1).map((p) => p[0])
    )
    assert.deepStrictEqual([...folders].filter((folder) => table[folder ?? ""] === undefined), [])
  })

  it("point one way", () => {
    const wrong = sources.flatMap((path) => {
      const [folder = "", rest] = relative(src, path).split("/")
      if (rest === undefined && entries.has(folder)) return []
      const allowed = new Set([folder, "tensor", ...(table[folder] ?? [])])
      return imports(path).filter((name) => name.startsWith(".")).flatMap((name) => {
        const other = relative(src, resolve(dirname(path), name)).split("/")[0] ?? ""
        return allowed.has(other) ? [] : [`${relative(src, path)} imports ${other}`]
      })
    })
    assert.deepStrictEqual(wrong, [])
  })

  it("name a platform only in bin", () => {
    const wrong = sources.filter((path) =>
      !relative(src, path).startsWith("bin/") && imports(path).some((name) => name.startsWith("@effect/platform-node"))
    )
    assert.deepStrictEqual(wrong.map((path) => relative(src, path)), [])
  })

  it("end in .ts when relative", () => {
    const wrong = sources.flatMap((path) =>
      imports(path).filter((name) => name.startsWith(".") && !name.endsWith(".ts")).map((name) =>
        `${relative(src, path)}: ${name}`
      )
    )
    assert.deepStrictEqual(wrong, [])
  })
})
