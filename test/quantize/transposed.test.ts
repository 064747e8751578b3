import { assert, layer } from "@effect/vitest"
import { Effect, Result } from "effect"
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { formatOf } from "../../src/quantize/format/registry.ts"
import { transposed } from "../../src/quantize/format/transposed.ts"
import { Kernels } from "../../src/quantize/Kernels.ts"
import { guard } from "../../src/quantize/WeightFacts.ts"
import { decodeFloats } from "../../src/tensor/Float.ts"
import type { Tensor } from "../../src/tensor/Tensor.ts"
import { randomMatrix } from "./Reference.ts"
import { runKernel } from "./Run.ts"

const widths = { bf16: 2, f16: 2, f32: 4 } as const
type Stored = keyof typeof widths

const folder = Effect.acquireRelease(
  Effect.sync(() => mkdtempSync(join(tmpdir(), "llima-transposed-"))),
  (path) => Effect.sync(() => rmSync(path, { recursive: true }))
)

/** `[rows × columns]` elements of `width` bytes as `[columns × rows]`. */
const turned = (bytes: Uint8Array, rows: number, columns: number, width: number): Uint8Array => {
  const out = new Uint8Array(bytes.length)
  for (let row = 0; row < rows; row++) {
    for (let column = 0; column < columns; column++) {
      const from = (row * columns + column) * width
      out.set(bytes.subarray(from, from + width), (column * rows + row) * width)
    }
  }
  return out
}

/** The second of three matrices `[columns × rows]` that lie one behind the other, as those of experts do. */
const second = (path: string, dtype: Stored, rows: number, columns: number, bytes: Uint8Array): Tensor => {
  const file = join(path, "model.safetensors")
  const length = bytes.length
  writeFileSync(file, Buffer.concat([new Uint8Array(length).fill(255), bytes, new Uint8Array(length).fill(255)]))
  return { name: "experts.down_proj.1", dtype, shape: [columns, rows], range: { file, offset: length, length } }
}

layer(Kernels.layer(2), { excludeTestServices: true })("transposed", (it) => {
  const quantized = Effect.fnUntraced(
    function*(dtype: Stored, bits: 4 | 8, rows: number, columns: number, bytes: Uint8Array) {
      const kernels = yield* Kernels
      const path = yield* folder
      const source = transposed(second(path, dtype, rows, columns, turned(bytes, rows, columns, widths[dtype])))
      const blocks = Math.ceil(columns / 32)
      const codes = rows * blocks * 4 * bits
      const file = join(path, "blob.bin")
      writeFileSync(file, new Uint8Array(codes + rows * blocks * 2))
      const facts = yield* kernels.quantize({ source, bits, destination: { file, codes: 0, scales: codes } })
      const blob = readFileSync(file)
      return { source, facts, codes: blob.subarray(0, codes), scales: blob.subarray(codes) }
    }
  )

  // a row of one number, rows that need padding, and 3 MB: several chunks, rows of which none ends with a chunk
  const cases = (["bf16", "f16", "f32"] as const).flatMap((dtype) =>
    ([4, 8] as const).flatMap((bits) =>
      ([[1, 33], [33, 1], [70, 31], [1201, 805]] as const).map(([rows, columns]) => ({ dtype, bits, rows, columns }))
    )
  )
  it.effect.each(cases)(
    "gives the codes of the matrix that is stored the usual way: $dtype, $bits bits, [$rows × $columns]",
    ({ bits, columns, dtype, rows }) =>
      Effect.gen(function*() {
        const bytes = randomMatrix(dtype, rows * columns, 5)
        const expected = runKernel(bits === 4 ? "int4" : "int8", dtype, bytes, rows, columns)
        const { codes, facts, scales, source } = yield* quantized(dtype, bits, rows, columns, bytes)
        assert.isTrue(codes.equals(expected.codes))
        assert.isTrue(scales.equals(new Uint8Array(expected.scales.buffer)))
        assert.deepInclude(facts, { numbers: rows * columns, largest: expected.seen.largest })
        assert.isTrue(Result.isSuccess(guard(source, facts)))
      })
  )

  it.effect.each(["bf16", "f16", "f32"] as const)(
    "has the numbers of the matrix in the model's order: %s",
    (dtype) =>
      Effect.gen(function*() {
        const bytes = randomMatrix(dtype, 70 * 31, 5)
        const stored = turned(bytes, 70, 31, widths[dtype])
        const source = transposed(second(yield* folder, dtype, 70, 31, stored))
        assert.deepStrictEqual(source.shape, [70, 31])
        assert.deepStrictEqual(formatOf(source).values(source, { stored }), decodeFloats(dtype, bytes))
      })
  )

  it.effect("names a NaN by its place in the file", () =>
    Effect.gen(function*() {
      const rows = 70, columns = 31
      const bytes = randomMatrix("bf16", rows * columns, 5).slice()
      bytes.set([0xc0, 0x7f], (64 * columns + 3) * 2)
      const { facts, source } = yield* quantized("bf16", 8, rows, columns, bytes)
      const failure = Result.getOrThrow(Result.flip(guard(source, facts)))
      assert.deepInclude(failure.reason, { value: "NaN", index: [3, 64] })
      assert.strictEqual(failure.subject, "experts.down_proj.1")
    }))
})
