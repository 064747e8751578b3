import { assert, describe, it } from "@effect/vitest"
import { Schema } from "effect"
import { readFileSync } from "node:fs"
import { join } from "node:path"
import { fromF16, toBf16 } from "../../src/tensor/Float.ts"
import { pick, readFixture } from "./Fixture.ts"
import { rowsOf } from "./Reference.ts"
import { runKernel } from "./Run.ts"

const folder = join(import.meta.dirname, "../fixtures/quantise/matrices")
const Index = Schema.Array(Schema.Struct({
  name: Schema.String,
  file: Schema.String,
  dtype: Schema.Literals(["bf16", "f32"]),
  n: Schema.Int,
  k: Schema.Int,
  expect: Schema.Literals(["golden", "refuse"]),
  nonFinite: Schema.optionalKey(Schema.Array(Schema.Tuple([Schema.Int, Schema.Int])))
}))
const index = Schema.decodeSync(Schema.fromJsonString(Index))(readFileSync(join(folder, "index.json"), "utf8"))

const i8 = (bytes: Uint8Array<ArrayBuffer>) => new Int8Array(bytes.buffer)

// gguf's Q4_0 and Q8_0 have our scales: the same element, the same divisor, rounded to f16 when stored. Their codes are chosen with
// the scale before that rounding, by other roundings of ties (up, away from zero), through a reciprocal. So scales must be equal,
// and codes too unless w / scale lies so near a tie that one of these decides: then they may be off by one.
const widths = {
  // f16 rounding moves w / scale by at most 8 · 2^-11
  int4: { peer: "q4_0", zero: 8, near: 8 * 2 ** -11 + 1e-5 },
  // 127 · 2^-11
  int8: { peer: "q8_0", zero: 128, near: 127 * 2 ** -11 + 1e-5 }
} as const

describe.each(index.filter(({ expect }) => expect === "golden"))("$name", ({ dtype, file, k, n, name }) => {
  const tensors = readFixture(folder, file)
  const weight = pick(tensors, "weight").bytes
  const rows = rowsOf(dtype, weight, k).flat()

  it.each(["int4", "int8"] as const)("%s agrees with gguf", (kernel) => {
    const { near, peer, zero } = widths[kernel]
    const made = runKernel(kernel, dtype, weight, n, k)
    const scales = new Uint16Array(pick(tensors, `${peer}.scales_f16`).bytes.buffer)
    // a block of zeros has -0 there and 0 here
    assert.deepStrictEqual(Array.from(made.scales), Array.from(scales, (bits) => (bits & 0x7fff) === 0 ? 0 : bits))
    const theirs = Array.from(i8(pick(tensors, `${peer}.codes`).bytes), (code) => code + zero)
    const ours = kernel === "int8"
      ? Array.from(made.codes)
      : Array.from(made.codes).flatMap((byte) => [byte & 15, byte >> 4])
    let compared = 0
    for (const [i, w] of rows.entries()) {
      const bits = scales[Math.floor(i / 32)] ?? 0
      // Scales that f16 holds badly (`tiny`) lead to codes that have nothing to do with those from the exact scale.
      if ((bits & 0x7fff) < 0x0400 && w !== 0) continue
      const steps = bits === 0 ? 0 : w / fromF16(bits)
      const isNearTie = Math.abs(Math.abs(steps - Math.trunc(steps)) - 0.5) <= near
      compared++
      if (isNearTie) assert.closeTo(ours[i] ?? -1, theirs[i] ?? -1, 1, `code ${i}`)
      else assert.strictEqual(ours[i], theirs[i], `code ${i}`)
    }
    if (!name.startsWith("tiny")) assert.isAbove(compared, rows.length / 2)
  })

  // onnxruntime's scale of a row, largest / 127 in float32, is ours before rounding to bf16 (of a row of zeros it is 1)
  it("rows have onnxruntime's scales, rounded", () => {
    const { scales } = runKernel("rows", dtype, weight, n, k)
    const theirs = new Float32Array(pick(tensors, "int8_127.scales").bytes.buffer)
    const zeros = rowsOf(dtype, weight, k).map((row) => row.every((w) => w === 0))
    assert.deepStrictEqual(
      Array.from(scales),
      Array.from(theirs, (scale, row) => zeros[row] === true ? 0 : toBf16(scale))
    )
  })
})

describe.each(index.filter(({ expect }) => expect === "refuse"))("$name", ({ dtype, file, k, n, nonFinite = [] }) => {
  it.each(["int4", "int8", "rows"] as const)("%s finds what is not finite", (kernel) => {
    const { seen } = runKernel(kernel, dtype, pick(readFixture(folder, file), "weight").bytes, n, k)
    const [[row, column] = [-1, -1]] = nonFinite
    assert.strictEqual(file.startsWith("nan") ? seen.nan : seen.infinity, row * k + column)
  })
})
