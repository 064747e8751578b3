import { assert, describe, it } from "@effect/vitest"
import { Schema } from "effect"
import { spawnSync } from "node:child_process"
import { mkdtempSync, readFileSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { kernelDTypes } from "../../src/quantize/kernel/Task.ts"
import { encodeFloats } from "../../src/tensor/Float.ts"
import { pick, readFixture } from "./Fixture.ts"
import { blocks, byRow, generator, packNibbles, randomMatrix, rowsOf } from "./Reference.ts"
import { runKernel, runScan } from "./Run.ts"

const folder = join(import.meta.dirname, "../fixtures/quantise/oracle")
const Count = Schema.Struct({ count: Schema.Int, first: Schema.NullOr(Schema.Int) })
const Counts = Schema.Struct({ underflow: Count, overflow: Count })
const Index = Schema.Array(Schema.Struct({
  name: Schema.String,
  file: Schema.String,
  dtype: Schema.Literals(kernelDTypes),
  shape: Schema.Tuple([Schema.Int, Schema.Int]),
  largest: Schema.Finite,
  int4: Counts,
  int8: Counts
}))
const index = Schema.decodeSync(Schema.fromJsonString(Index))(readFileSync(join(folder, "index.json"), "utf8"))

const u16 = (bytes: Uint8Array<ArrayBuffer>) => new Uint16Array(bytes.buffer)

// Golden data: numpy, bit for bit (test/fixtures/quantise/oracle/ORIGIN.md).
describe.each(index)("$name", ({ dtype, file, largest, shape: [rows, columns], ...counts }) => {
  const tensors = readFixture(folder, file)
  const weight = pick(tensors, "weight").bytes

  it.each(["int4", "int8", "rows"] as const)("%s gives numpy's codes and scales", (kernel) => {
    const made = runKernel(kernel, dtype, weight, rows, columns)
    assert.deepStrictEqual(made.scales, u16(pick(tensors, `${kernel}.scales`).bytes))
    assert.deepStrictEqual(made.codes, pick(tensors, `${kernel}.codes`).bytes)
    assert.strictEqual(made.seen.largest, largest)
    assert.deepInclude(made.seen, { nan: -1, infinity: -1 })
  })

  it.each(["int4", "int8"] as const)("%s reports the blocks whose scales f16 does not hold", (kernel) => {
    const { seen } = runKernel(kernel, dtype, weight, rows, columns)
    const { overflow, underflow } = counts[kernel]
    assert.deepStrictEqual(
      { underflow: [seen.underflows, seen.firstUnderflow], overflow: [seen.overflows, seen.firstOverflow] },
      { underflow: [underflow.count, underflow.first ?? -1], overflow: [overflow.count, overflow.first ?? -1] }
    )
  })
})

describe.each(kernelDTypes)("kernels for %s", (dtype) => {
  const width = dtype === "f32" ? 4 : 2

  it("agree with the rule for every number of columns from 1 to 200", () => {
    for (let columns = 1; columns <= 200; columns++) {
      const bytes = randomMatrix(dtype, 3 * columns, columns)
      const rows = rowsOf(dtype, bytes, columns)
      const four = blocks(4, rows), eight = blocks(8, rows), row = byRow(rows)
      const int4 = runKernel("int4", dtype, bytes, 3, columns)
      assert.deepStrictEqual(int4.codes, packNibbles(four.codes), `int4, ${columns}`)
      assert.deepStrictEqual(Array.from(int4.scales), four.scales, `int4, ${columns}`)
      const int8 = runKernel("int8", dtype, bytes, 3, columns)
      assert.deepStrictEqual(Array.from(int8.codes), eight.codes, `int8, ${columns}`)
      assert.deepStrictEqual(Array.from(int8.scales), eight.scales, `int8, ${columns}`)
      const rowMade = runKernel("rows", dtype, bytes, 3, columns)
      assert.deepStrictEqual(Array.from(new Int8Array(rowMade.codes.buffer)), row.codes, `rows, ${columns}`)
      assert.deepStrictEqual(Array.from(rowMade.scales), row.scales, `rows, ${columns}`)
    }
  })

  it("agree with the rule for finite bit patterns of every kind", () => {
    const next = generator(7)
    const columns = 96, count = 200 * columns
    const top = dtype === "f32" ? 0x7f800000 : dtype === "f16" ? 0x7c00 : 0x7f80
    for (let round = 0; round < 10; round++) {
      // blocks of near magnitudes, over the whole range of the format
      let middle = 0
      const words = Array.from({ length: count }, (_, i) => {
        if (i % 32 === 0) middle = Math.floor(next() * top)
        const spread = top / (dtype === "f16" ? 8 : 50)
        const magnitude = Math.min(top - 1, Math.max(0, Math.floor(middle - next() * spread)))
        return magnitude + (next() < 0.5 ? 0 : dtype === "f32" ? 0x80000000 : 0x8000)
      })
      const bytes = new Uint8Array((width === 4 ? Uint32Array.from(words) : Uint16Array.from(words)).buffer)
      const rows = rowsOf(dtype, bytes, columns)
      for (const bits of [4, 8] as const) {
        const expected = blocks(bits, rows)
        const { codes, scales, seen } = runKernel(bits === 4 ? "int4" : "int8", dtype, bytes, 200, columns)
        assert.deepStrictEqual(Array.from(scales), expected.scales)
        assert.deepStrictEqual(codes, bits === 4 ? packNibbles(expected.codes) : Uint8Array.from(expected.codes))
        assert.deepStrictEqual([seen.underflows, seen.overflows], [
          expected.underflows.length,
          expected.overflows.length
        ])
        assert.strictEqual(seen.firstUnderflow, expected.underflows[0] ?? -1)
        assert.strictEqual(seen.firstOverflow, expected.overflows[0] ?? -1)
      }
      const made = runKernel("rows", dtype, bytes, 200, columns)
      const expected = byRow(rows)
      assert.deepStrictEqual(Array.from(made.scales), expected.scales)
      assert.deepStrictEqual(Array.from(new Int8Array(made.codes.buffer)), expected.codes)
    }
  })

  it.each([1, 31, 32, 80, 96, 128, 300])("name the first NaN and the first infinity among %i columns", (columns) => {
    const next = generator(columns)
    for (let round = 0; round < 20; round++) {
      const count = 7 * columns
      const values = Float32Array.from({ length: count }, () => next() - 0.5)
      const put = (value: number) => {
        const places = [Math.floor(next() * count), Math.floor(next() * count)]
        for (const place of places) values[place] = next() < 0.5 ? value : -value
      }
      put(Infinity)
      if (round > 5) put(NaN)
      const bytes = encodeFloats(dtype, values)
      const expected = {
        nan: values.findIndex((value) => value !== value),
        infinity: values.findIndex((value) => Math.abs(value) === Infinity)
      }
      const finite = rowsOf(dtype, bytes, columns).flat().map(Math.abs).filter((value) => value < Infinity)
      const largest = finite.reduce((a, b) => Math.max(a, b), 0)
      for (const kernel of ["int4", "int8", "rows"] as const) {
        assert.deepInclude(runKernel(kernel, dtype, bytes, 7, columns).seen, { ...expected, largest }, kernel)
      }
      assert.deepInclude(runScan(dtype, bytes), { ...expected, largest }, "scan")
    }
  })

  it("take zeros of both signs for nothing: scale 0, zero points", () => {
    const bytes = encodeFloats(dtype, Float32Array.from({ length: 160 }, (_, i) => i % 3 === 0 ? -0 : 0))
    const int4 = runKernel("int4", dtype, bytes, 2, 80)
    assert.isTrue(int4.codes.every((byte) => byte === 0x88) && int4.scales.every((scale) => scale === 0))
    const int8 = runKernel("int8", dtype, bytes, 2, 80)
    assert.isTrue(int8.codes.every((byte) => byte === 0x80) && int8.scales.every((scale) => scale === 0))
    assert.deepInclude(int8.seen, { largest: 0, underflows: 0, overflows: 0 })
  })
})

describe("src/quantize/kernel/wasm.ts", () => {
  it("is what the sources compile to", { timeout: 120_000 }, () => {
    const root = join(import.meta.dirname, "../..")
    const temporary = mkdtempSync(join(tmpdir(), "llima-kernels-"))
    try {
      const out = join(temporary, "wasm.ts")
      const { status, stderr } = spawnSync(
        process.execPath,
        [join(root, "scripts/build-kernels.mjs"), "--out", out],
        { encoding: "utf8" }
      )
      assert.strictEqual(status, 0, stderr)
      assert.strictEqual(
        readFileSync(out, "utf8"),
        readFileSync(join(root, "src/quantize/kernel/wasm.ts"), "utf8"),
        "run node scripts/build-kernels.mjs"
      )
    } finally {
      rmSync(temporary, { recursive: true })
    }
  })
})
