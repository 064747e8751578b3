import { assert, describe, it } from "@effect/vitest"
import { Result } from "effect"
import { cpSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { find } from "../../src/arch/registry.ts"
import { encode } from "../../src/onnx/OnnxFile.ts"
import { readCase } from "./Case.ts"

describe("attention with sinks", () => {
  it("gives zeros for a token that sees nothing, as padding does on a device", async () => {
    const { config, path, tensors } = readCase("gpt-oss")
    const family = find("gpt_oss")
    if (family === undefined) throw new Error("gpt_oss is not read")
    const model = Result.getOrThrow(family.read(config))
    const graph = model.cache(0, (name) => {
      const tensor = tensors.get(name)
      if (tensor === undefined) throw new Error(name)
      return tensor
    })
    const [facts] = model.facts.layers
    if (facts?.kind !== "attention") throw new Error("layer 0 is no attention layer")
    const { cacheWidth, queryWidth } = facts
    const ort = await import("onnxruntime-node")
    const folder = mkdtempSync(join(tmpdir(), "llima-sinks-"))
    try {
      mkdirSync(join(folder, "weights"))
      cpSync(join(path, "model.safetensors"), join(folder, "weights", "model.safetensors"))
      writeFileSync(join(folder, "cache.onnx"), encode(graph))
      const session = await ort.InferenceSession.create(join(folder, "cache.onnx"), { intraOpNumThreads: 1 })
      const f32 = (rows: number, columns: number, value: (i: number) => number) =>
        new ort.Tensor("float32", Float32Array.from({ length: rows * columns }, (_, i) => value(i)), [rows, columns])
      const { attended } = await session.run({
        q: f32(2, queryWidth, Math.sin),
        K: f32(3, cacheWidth, Math.cos),
        V: f32(3, cacheWidth, Math.sin),
        mask: f32(2, 3, (i) => i < 3 ? 0 : -Infinity)
      })
      const rows = attended?.data
      if (!(rows instanceof Float32Array)) throw new Error("attended is no f32")
      assert.isTrue(rows.subarray(0, queryWidth).every((value) => Number.isFinite(value) && value !== 0))
      assert.isTrue(rows.subarray(queryWidth).every((value) => value === 0))
      await session.release()
    } finally {
      rmSync(folder, { recursive: true })
    }
  })
})
