import { assert, describe, it } from "@effect/vitest"
import { Schema } from "effect"
import { layoutBlob } from "../../src/quantize/Blob.ts"

const Weights = Schema.Array(Schema.Struct({
  name: Schema.String,
  rows: Schema.Int.pipe(Schema.check(Schema.isBetween({ minimum: 1, maximum: 3000 }))),
  columns: Schema.Int.pipe(Schema.check(Schema.isBetween({ minimum: 1, maximum: 3000 }))),
  bits: Schema.Literals([4, 8])
}))

describe("layoutBlob", () => {
  it("puts codes, then scales, then zero points, each from a multiple of 64", () => {
    const layout = layoutBlob([
      { name: "q", rows: 3, columns: 80, bits: 4 },
      { name: "k", rows: 1, columns: 80, bits: 4 },
      { name: "head", rows: 5, columns: 32, bits: 8 }
    ])
    const at = layout.weights.map(({ codes, name, padded, scales }) => [name, padded, codes, scales])
    assert.deepStrictEqual(at, [
      ["q", 96, { offset: 0, length: 144 }, { offset: 384, length: 18 }],
      ["k", 96, { offset: 144, length: 48 }, { offset: 402, length: 6 }],
      ["head", 32, { offset: 192, length: 160 }, { offset: 408, length: 10 }]
    ])
    assert.deepStrictEqual(layout.zeros, [
      // 9 blocks of q in half bytes; 5 blocks of head
      { bits: 4, byte: 0x88, offset: 448, length: 5 },
      { bits: 8, byte: 0x80, offset: 512, length: 5 }
    ])
    assert.strictEqual(layout.length, 517)
  })

  it("is empty without weights", () => {
    assert.deepStrictEqual(layoutBlob([]), { weights: [], zeros: [], length: 0 })
  })

  it.prop("never overlaps, keeps the order, and wastes less than 64 bytes a region", [Weights], ([weights]) => {
    const { length, weights: placed, zeros } = layoutBlob(weights)
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
    for (const { bits, blocks, rows } of placed) {
      const zero = zeros.find((region) => region.bits === bits)
      assert.isAtLeast(zero?.length ?? 0, rows * blocks * bits / 8)
    }
  })
})
