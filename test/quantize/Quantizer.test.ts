import { assert, describe, it } from "@effect/vitest"
import { spawnSync } from "node:child_process"
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { Builder } from "../../src/onnx/Builder.ts"
import { check } from "../../src/onnx/Check.ts"
import type { Graph } from "../../src/onnx/Graph.ts"
import { encode } from "../../src/onnx/OnnxFile.ts"
import { type BlobLayout, layoutBlob, type PlacedWeight } from "../../src/quantize/Blob.ts"
import { quantizable, weightsOf } from "../../src/quantize/Linear.ts"
import { quantizeGraph } from "../../src/quantize/Quantizer.ts"
import { schemes } from "../../src/quantize/scheme/registry.ts"
import { formUnder } from "../../src/quantize/scheme/Scheme.ts"
import { w4 } from "../../src/quantize/scheme/w4.ts"
import { decodeFloats, encodeFloats, fromF16 } from "../../src/tensor/Float.ts"
import type { Tensor } from "../../src/tensor/Tensor.ts"
import { randomMatrix } from "./Reference.ts"
import { runKernel } from "./Run.ts"

const shapes: Readonly<
  Record<string, { readonly dtype: "bf16" | "f32" | "f16"; readonly shape: readonly [number, number] }>
> = {
  "q.weight": { dtype: "bf16", shape: [64, 96] },
  "k.weight": { dtype: "bf16", shape: [33, 96] },
  "padded.weight": { dtype: "f32", shape: [40, 33] },
  "head.weight": { dtype: "f16", shape: [70, 40] }
}

/** The float file: every weight's bytes, one after the other. */
const floats = new Map(
  Object.entries(shapes).map(([name, { dtype, shape: [rows, columns] }], seed) =>
    [name, randomMatrix(dtype, rows * columns, seed + 1)] as const
  )
)

const tensorOf = (name: string): Tensor => {
  let offset = 0
  for (const [other, { length }] of floats) {
    if (other === name) {
      const { dtype, shape } = shapes[name] ?? { dtype: "f32", shape: [0, 0] }
      return { name, dtype, shape, range: { file: "/models/model.safetensors", offset, length } }
    }
    offset += length
  }
  throw new Error(`no ${name}`)
}

/** x → q and k of it, k through two more products, the last one the head. */
const sample = (): Graph => {
  const builder = new Builder("single_post_0")
  const x = builder.input("x", "f32", ["tokens", 96])
  builder.output("q", builder.linear(x, tensorOf("q.weight")))
  const k = builder.linear(x, tensorOf("k.weight"))
  builder.output("logits", builder.linear(builder.linear(k, tensorOf("padded.weight")), tensorOf("head.weight")))
  return builder.build()
}

const location = "weights/blob.bin"
const head = "head.weight"

/** The blob's bytes, from the kernels that other tests have compared with numpy. */
const blobOf = (layout: BlobLayout): Uint8Array => {
  const blob = new Uint8Array(layout.length)
  for (const { codes, columns, form: { bits }, name, rows, scales } of layout.weights) {
    const { dtype } = tensorOf(name)
    if (dtype !== "bf16" && dtype !== "f16" && dtype !== "f32") throw new Error(dtype)
    const made = runKernel(bits === 4 ? "int4" : "int8", dtype, floats.get(name) ?? new Uint8Array(), rows, columns)
    blob.set(made.codes, codes.offset)
    blob.set(new Uint8Array(made.scales.buffer), scales.offset)
  }
  for (const { byte, length, offset } of layout.zeros) blob.fill(byte, offset, offset + length)
  return blob
}

/** w = (code − zero point) · scale, from the blob's bytes, `[rows × columns]` f32. */
const dequantize = (
  blob: Uint8Array,
  { blocks, codes, columns, form: { bits, block }, padded, rows, scales }: PlacedWeight
) =>
  Float32Array.from({ length: rows * columns }, (_, i) => {
    const row = Math.floor(i / columns), column = i % columns
    const at = row * padded + column
    const byte = blob[codes.offset + Math.floor(at * bits / 8)] ?? 0
    const code = bits === 8 ? byte - 128 : (at % 2 === 0 ? byte & 15 : byte >> 4) - 8
    const scale = scales.offset + 2 * (row * blocks + Math.floor(column / block))
    return code * fromF16((blob[scale] ?? 0) | (blob[scale + 1] ?? 0) << 8)
  })

describe("quantizable", () => {
  it("finds products over external matrices, cast or not, in order", () => {
    assert.deepStrictEqual(
      quantizable(sample()).map(({ columns, dtype, rows, weight }) => [weight, dtype, rows, columns]),
      Object.entries(shapes).map(([name, { dtype, shape }]) => [name, dtype, ...shape])
    )
  })

  it("leaves what is not such a product", () => {
    const builder = new Builder("embedding")
    const ids = builder.input("ids", "i64", ["tokens"])
    const rows = builder.gather(builder.weight(tensorOf("q.weight")), ids)
    builder.output("hidden", builder.f32(rows))
    const inline = builder.constant("inline", "f32", [2, 96], Array.from({ length: 192 }, () => 1))
    const x = builder.input("x", "f32", ["tokens", 96])
    builder.output("y", builder.op("Gemm", [x, inline], { transB: { kind: "int", value: 1 } }))
    const graph = builder.build()
    assert.deepStrictEqual(quantizable(graph), [])
    assert.deepStrictEqual(quantizeGraph(graph, { location, layout: layoutBlob([]) }), graph)
  })
})

describe.each(schemes)("quantizeGraph, $name", (scheme) => {
  const graph = sample()
  const layout = layoutBlob(weightsOf(graph, (weight) => formUnder(scheme, weight, head)))
  const quantized = quantizeGraph(graph, { location, layout })

  it("reads codes instead of floats, and nothing else changes", () => {
    assert.deepStrictEqual(check(quantized), [])
    assert.deepStrictEqual(quantizable(quantized), [])
    assert.deepStrictEqual([quantized.inputs, quantized.outputs], [graph.inputs, graph.outputs])
    assert.strictEqual(
      quantized.nodes.map(({ op }) => op).sort().join(" "),
      "Cast Cast Cast Cast DequantizeLinear DequantizeLinear DequantizeLinear DequantizeLinear Gemm Gemm Gemm Gemm Slice Slice"
    )
    const external = quantized.initializers.flatMap(({ data }) => data.kind === "external" ? [data] : [])
    assert.deepStrictEqual(new Set(external.map((data) => data.location)), new Set([location]))
    for (const { length, offset } of external) assert.isAtMost(offset + length, layout.length)
  })

  it("gives the head 8 bits", () => {
    const codes = new Map(quantized.initializers.map(({ dtype, name }) => [name, dtype]))
    assert.strictEqual(codes.get("head.weight.codes"), "u8")
    assert.strictEqual(codes.get("q.weight.codes"), scheme.bits === 4 ? "u4" : "u8")
  })

  it("is the same when it is done again", () => {
    assert.deepStrictEqual(quantizeGraph(quantized, { location, layout }), quantized)
  })

  const python = process.env["LLIMA_TEST_PYTHON"] ?? "python3"
  const found = spawnSync(python, ["-c", "import onnx, onnxruntime"], { stdio: "ignore" }).status === 0
  const reason = found ? "" : " (skipped: no Python with onnx and onnxruntime; name one in LLIMA_TEST_PYTHON)"
  it.skipIf(!found)(`equals the graph with dequantised weights in onnxruntime${reason}`, { timeout: 120_000 }, () => {
    const folder = mkdtempSync(join(tmpdir(), "llima-quantizer-"))
    try {
      mkdirSync(join(folder, "weights"))
      const blob = blobOf(layout)
      writeFileSync(join(folder, location), blob)
      writeFileSync(join(folder, "quantized.onnx"), encode(quantized))
      // the float graph over the same numbers
      const reference: Graph = {
        ...graph,
        initializers: graph.initializers.map((initializer) => {
          const placed = layout.weights.find(({ name }) => name === initializer.name)
          if (placed === undefined) return initializer
          return {
            ...initializer,
            dtype: "f32",
            data: { kind: "inline", bytes: encodeFloats("f32", dequantize(blob, placed)) }
          }
        })
      }
      writeFileSync(join(folder, "reference.onnx"), encode(reference))
      const scripts = join(import.meta.dirname, "../../scripts")
      const checked = spawnSync(python, [join(scripts, "check_onnx.py"), "quantized.onnx"], {
        cwd: folder,
        encoding: "utf8"
      })
      assert.strictEqual(checked.stdout, "ok quantized.onnx\n", checked.stderr)
      const { stderr, stdout } = spawnSync(
        python,
        [join(scripts, "run_onnx.py"), "quantized.onnx", "reference.onnx", "5"],
        { cwd: folder, encoding: "utf8" }
      )
      const lines = stdout.trim().split("\n").map((line) => line.split(" "))
      assert.deepStrictEqual(lines.map(([name]) => name), ["q", "logits"], stderr)
      // the same float32 weights and the same kernel on them: nothing differs
      for (const [, difference, largest] of lines) {
        assert.strictEqual(Number(difference), 0)
        assert.isAbove(Number(largest), 1)
      }
    } finally {
      rmSync(folder, { recursive: true })
    }
  })
})

describe("dequantised weights", () => {
  it.each(Object.keys(shapes))("of %s are near the floats: a unit of the scale at most", (name) => {
    const layout = layoutBlob(weightsOf(sample(), (weight) => formUnder(w4, weight, head)))
    const placed = layout.weights.find((weight) => weight.name === name)
    const { dtype } = shapes[name] ?? { dtype: "f32" }
    if (placed === undefined) throw new Error(name)
    const exact = decodeFloats(dtype, floats.get(name) ?? new Uint8Array())
    const made = dequantize(blobOf(layout), placed)
    // numbers below 1 in magnitude: the scale is at most 1/8 (or 1/127); the largest positive code is 7, one unit short
    const unit = 1.001 / (placed.form.bits === 4 ? 8 : 127)
    for (const [i, value] of made.entries()) assert.closeTo(value, exact[i] ?? NaN, unit, `${i}`)
  })
})
