import { assert, describe, it } from "@effect/vitest"
import { Schema } from "effect"
import { type BlobWeight, layoutBlob } from "../../src/quantize/Blob.ts"
import type { Form } from "../../src/tensor/Coded.ts"

const Weights = Schema.Array(Schema.Struct({
  name: Schema.String,
  rows: Schema.Int.pipe(Schema.check(Schema.isBetween({ minimum: 1, maximum: 3000 }))),
  columns: Schema.Int.pipe(Schema.check(Schema.isBetween({ minimum: 1, maximum: 3000 }))),
  bits: Schema.Literals([4, 8])
}))

const formOf = (bits: 4 | 8, more: Partial<Form> = {}): Form => ({
  bits,
  block: 32,
  scales: "f16",
  zeros: "middle",
  minimum: false,
  ordered: false,
  ...more
})

const weight = (name: string, rows: number, columns: number, form: Form): BlobWeight => ({ name, rows, columns, form })

describe("layoutBlob", () => {
  it("puts codes, then scales, then zero points, each from a multiple of 64", () => {
    const layout = layoutBlob([
      weight("q", 3, 80, formOf(4)),
      weight("k", 1, 80, formOf(4)),
      weight("head", 5, 32, formOf(8))
    ])
    const at = layout.weights.map(({ codes, name, padded, scales }) => [name, padded, codes, scales])
    assert.deepStrictEqual(at, [
      ["q", 96, { offset: 0, length: 144 }, { offset: 384, length: 18 }],
      ["k", 96, { offset: 144, length: 48 }, { offset: 402, length: 6 }],
      ["head", 32, { offset: 192, length: 160 }, { offset: 408, length: 10 }]
    ])
    assert.deepStrictEqual(layout.zeros, [
      // 3 rows of q, 3 blocks each, in half bytes, each row from a byte; 5 blocks of head
      { bits: 4, zeros: "middle", byte: 0x88, offset: 448, length: 6 },
      { bits: 8, zeros: "middle", byte: 0x80, offset: 512, length: 5 }
    ])
    assert.strictEqual(layout.length, 517)
  })

  it("puts what forms have beside codes and scales behind them, and plain numbers last", () => {
    const layout = layoutBlob([
      weight("k", 2, 64, formOf(4, { scales: "f32", zeros: "none", minimum: true })),
      weight("awq", 2, 128, formOf(4, { zeros: "stored", ordered: true })),
      weight("v", 2, 64, formOf(4, { scales: "f32", zeros: "none", minimum: true }))
    ], [{ name: "norm", dtype: "f32", shape: [3] }])
    const [k, awq, v] = layout.weights
    assert.deepStrictEqual([k?.codes, awq?.codes, v?.codes], [
      { offset: 0, length: 64 },
      { offset: 64, length: 128 },
      { offset: 192, length: 64 }
    ])
    assert.deepStrictEqual([awq?.scales, k?.scales, v?.scales], [
      { offset: 256, length: 16 },
      // what has the same format touches
      { offset: 320, length: 16 },
      { offset: 336, length: 16 }
    ])
    assert.deepStrictEqual([k?.minimum, v?.minimum, awq?.minimum], [
      { offset: 384, length: 16 },
      { offset: 400, length: 16 },
      undefined
    ])
    assert.deepStrictEqual([awq?.zeros, k?.zeros], [{ offset: 448, length: 4 }, undefined])
    assert.deepStrictEqual([awq?.order, k?.order], [{ offset: 512, length: 512 }, undefined])
    assert.deepStrictEqual(layout.zeros, [{ bits: 4, zeros: "none", byte: 0, offset: 1024, length: 2 }])
    assert.deepStrictEqual(layout.numbers, [
      { name: "norm", dtype: "f32", shape: [3], region: { offset: 1088, length: 12 } }
    ])
    assert.strictEqual(layout.length, 1100)
  })

  it("is empty without weights", () => {
    assert.deepStrictEqual(layoutBlob([]), { weights: [], numbers: [], zeros: [], length: 0 })
  })

  it.prop("never overlaps, keeps the order, and wastes less than 64 bytes a region", [Weights], ([weights]) => {
    const { length, weights: placed, zeros } = layoutBlob(
      weights.map(({ bits, columns, name, rows }) => weight(name, rows, columns, formOf(bits)))
    )
    assert.deepStrictEqual(placed.map(({ name }) => name), weights.map(({ name }) => name))
    const regions = [...placed.map(({ codes }) => codes), ...placed.map(({ scales }) => scales), ...zeros]
    let end = 0
    for (const [i, region] of regions.entries()) {
      assert.isAtLeast(region.offset, end)
      assert.isBelow(region.offset - end, 64)
      const isStart = i === placed.length || i >= 2 * placed.length
      if (!isStart) assert.strictEqual(region.offset, end)
      else assert.strictEqual(region.offset % 64, 0)
      end = region.offset + region.length
    }
    assert.strictEqual(length, end)
    for (const { blocks, form: { bits }, rows } of placed) {
      const zero = zeros.find((region) => region.bits === bits)
      assert.isAtLeast(zero?.length ?? 0, rows * blocks * bits / 8)
    }
  })
})
