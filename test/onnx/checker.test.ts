import { assert, describe, it } from "@effect/vitest"
import { spawnSync } from "node:child_process"
import { copyFileSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import type { Graph } from "../../src/onnx/Graph.ts"
import { encode } from "../../src/onnx/OnnxFile.ts"
import { simplify } from "../../src/onnx/pass/registry.ts"
import { cache, fileLength, layer, post, pre, random } from "./Sample.ts"

const python = process.env["LLIMA_TEST_PYTHON"] ?? "python3"
const found = spawnSync(python, ["-c", "import onnx, onnxruntime"], { stdio: "ignore" }).status === 0
const reason = found ? "" : " (skipped: no Python with onnx and onnxruntime; name one in LLIMA_TEST_PYTHON)"
const script = join(import.meta.dirname, "../../scripts/check_onnx.py")
const fixtures = join(import.meta.dirname, "../fixtures/onnx")

/** What the script says of files that `write` puts into a folder of their own. */
const run = (write: (folder: string) => ReadonlyArray<string>) => {
  const folder = mkdtempSync(join(tmpdir(), "llima-onnx-"))
  try {
    const names = write(folder)
    const { status, stderr, stdout } = spawnSync(python, [script, ...names], { cwd: folder, encoding: "utf8" })
    return { status, stderr, lines: stdout.trim().split("\n") }
  } finally {
    rmSync(folder, { recursive: true })
  }
}

describe("scripts/check_onnx.py", () => {
  it.skipIf(!found)(`accepts what we write, external weights included${reason}`, { timeout: 120_000 }, () => {
    const graphs: Readonly<Record<string, Graph>> = {
      pre: pre(),
      cache: cache(),
      post: post(),
      layer: layer(),
      simplified: simplify(layer()),
      random: random(Array.from({ length: 60 }, (_, at) => (at * 977) % 4096)),
      short: simplify(random(Array.from({ length: 30 }, (_, at) => (at * 613) % 4096)))
    }
    const { lines, status, stderr } = run((folder) => {
      mkdirSync(join(folder, "weights"))
      // Enough for the largest random graph: 60 matrices of 12 × 12.
      writeFileSync(
        join(folder, "weights/model-00001.safetensors"),
        new Uint8Array(Math.max(fileLength, 134 + 60 * 12 * 12 * 4))
      )
      return Object.entries(graphs).map(([name, graph]) => {
        writeFileSync(join(folder, `${name}.onnx`), encode(graph))
        return `${name}.onnx`
      })
    })
    assert.deepStrictEqual(lines, Object.keys(graphs).map((name) => `ok ${name}.onnx`), stderr)
    assert.strictEqual(status, 0)
  })

  it.skipIf(!found)(`refuses broken models, one line each${reason}`, { timeout: 120_000 }, () => {
    const { lines, status } = run((folder) => {
      copyFileSync(join(fixtures, "bad-twice/model.onnx"), join(folder, "twice.onnx"))
      writeFileSync(join(folder, "alone.onnx"), encode(post()))
      writeFileSync(join(folder, "cache.onnx"), encode(cache()))
      return ["twice.onnx", "alone.onnx", "cache.onnx"]
    })
    assert.strictEqual(status, 1)
    assert.strictEqual(lines.length, 3)
    assert.match(lines[0] ?? "", /^FAIL twice\.onnx: .*(SSA|static single)/i)
    assert.match(lines[1] ?? "", /^FAIL alone\.onnx: .*safetensors/)
    assert.strictEqual(lines[2], "ok cache.onnx")
  })
})
