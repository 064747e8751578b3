import { assert, describe, it } from "@effect/vitest"
import { argMax, sample, uniform } from "../../src/run/Sampler.ts"

const logits = Float32Array.from([1, 3, 2, -Infinity, 2.5])
const draws = Array.from({ length: 2000 }, (_, i) => i / 2000)
const drawn = (options: { topK?: number; topP?: number; temperature?: number }) => {
  const counts = new Map<number, number>()
  for (const draw of draws) {
    const id = sample(logits, { temperature: 1, topK: 0, topP: 1, seed: 0, ...options }, draw)
    counts.set(id, (counts.get(id) ?? 0) + 1)
  }
  return counts
}

describe("argMax", () => {
  it("takes the first of equals", () => assert.strictEqual(argMax(Float32Array.from([0, 5, 5])), 1))
})

describe("sample", () => {
  it("takes the likeliest at temperature 0", () =>
    assert.strictEqual(sample(logits, { temperature: 0, topK: 0, topP: 1, seed: 0 }, 0.99), 1))

  it("draws each token with its probability", () => {
    const weights = Array.from(logits, (logit) => Math.exp(logit))
    const sum = weights.reduce((a, b) => a + b)
    const counts = drawn({})
    // 2000 evenly spaced draws: a share is right to one draw at each end
    weights.forEach((weight, id) => assert.closeTo((counts.get(id) ?? 0) / 2000, weight / sum, 2 / 2000))
  })

  it("keeps the k likeliest", () => assert.deepStrictEqual([...drawn({ topK: 2 }).keys()].sort(), [1, 4]))

  it("keeps the fewest that have the share", () => {
    // shares: 0.44, 0.27, 0.16, 0.06 …
    assert.deepStrictEqual([...drawn({ topP: 0.4 }).keys()], [1])
    assert.deepStrictEqual([...drawn({ topP: 0.6 }).keys()].sort(), [1, 4])
  })

  it("comes nearer to the likeliest the colder it is", () =>
    assert.isAbove(drawn({ temperature: 0.2 }).get(1) ?? 0, drawn({ temperature: 2 }).get(1) ?? 0))
})

describe("uniform", () => {
  it("gives the same numbers for a seed, in [0, 1), evenly", () => {
    const numbers = Array.from({ length: 1000 }, uniform(3))
    assert.deepStrictEqual(numbers, Array.from({ length: 1000 }, uniform(3)))
    assert.isTrue(numbers.every((value) => value >= 0 && value < 1))
    assert.closeTo(numbers.reduce((a, b) => a + b) / 1000, 0.5, 0.05)
  })
})
