import { assert, describe, it } from "@effect/vitest"
import { Stripe } from "../../../src/quantize/kernel/coded/Stripe.ts"

/** A file `[height × width]` of bytes that say where they are, and a memory that it is read into. */
const fake = (height: number, width: number) => {
  const file = Uint8Array.from({ length: height * width }, (_, i) => Math.floor(i / width) * 16 + i % width)
  const memory = new Uint8Array(1000)
  let calls = 0
  const read = (address: number, from: number, count: number): void => {
    calls++
    assert.isAtMost(from + count, file.length)
    memory.set(file.subarray(from, from + count), address)
  }
  return { memory, read, calls: () => calls }
}

describe("Stripe", () => {
  it("gives columns, read ahead as far as the matrix goes", () => {
    const { calls, memory, read } = fake(3, 10)
    const stripe = new Stripe(3, 10, 1, 2)
    assert.strictEqual(stripe.bytes, 30)
    for (const [from, count] of [[0, 2], [2, 2], [8, 2], [3, 1]] as const) {
      const { at, stride } = stripe.load(read, 100, from, count)
      for (let row = 0; row < 3; row++) {
        for (let i = 0; i < count; i++) assert.strictEqual(memory[at + row * stride + i], row * 16 + from + i)
      }
    }
    assert.strictEqual(calls(), 3)
  })

  it("reads again what was not read ahead, and holds what is asked for however high the matrix is", () => {
    const height = 3 * 2 ** 20
    const stripe = new Stripe(height, 10, 1, 4)
    assert.strictEqual(stripe.bytes, 4 * height)
    const reads: Array<readonly [address: number, from: number, count: number]> = []
    const read = (address: number, from: number, count: number) => {
      if (address < 200) reads.push([address, from, count])
    }
    assert.deepStrictEqual(stripe.load(read, 64, 5, 3), { at: 64, stride: 4 })
    assert.deepStrictEqual(stripe.load(read, 64, 6, 3), { at: 65, stride: 4 })
    assert.deepStrictEqual(stripe.load(read, 64, 7, 3), { at: 64, stride: 3 })
    assert.deepStrictEqual(reads.slice(0, 2), [[64, 5, 4], [68, 15, 4]])
    assert.deepInclude(reads, [64, 7, 3])
  })
})
