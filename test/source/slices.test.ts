import { NodeServices } from "@effect/platform-node"
import { assert, describe, layer } from "@effect/vitest"
import { Effect, Result } from "effect"
import { join } from "node:path"
import { type Checkpoint, expect, open } from "../../src/source/Checkpoint.ts"

const path = join(import.meta.dirname, "../fixtures/text/gpt-oss")
const name = "model.layers.0.mlp.experts.down_proj"
const expert = (at: number) => ({ name: `${name}.${at}`, shape: [32, 48], within: { name, at, count: 4 } })
const dtypes = ["bf16"] as const

layer(NodeServices.layer)("expect, of tensors within stored ones", (it) => {
  describe("the experts of gpt-oss", () => {
    it.effect("are byte ranges of the stored tensor, which counts as used", () =>
      Effect.gen(function*() {
        const checkpoint = yield* open(path)
        const stored = checkpoint.tensors.get(name) ?? assert.fail("no tensor")
        const alone: Checkpoint = { ...checkpoint, tensors: new Map([[name, stored]]) }
        const found = yield* Effect.fromResult(expect(alone, [expert(0), expert(3)], dtypes))
        const { range, shape } = found.weights(`${name}.3`)
        assert.deepStrictEqual(shape, [32, 48])
        assert.deepStrictEqual(range, {
          file: stored.range.file,
          offset: stored.range.offset + 3 * 32 * 48 * 2,
          length: 32 * 48 * 2
        })
        assert.notInclude(found.unused, name)
        assert.throws(() => found.weights(name), "not among the expected tensors")
      }))

    it.effect("are not cut out of what is stored as codes", () =>
      Effect.gen(function*() {
        const checkpoint = yield* open(path)
        const tensors = new Map(checkpoint.tensors)
        const stored = tensors.get(name) ?? assert.fail("no tensor")
        const coded = {
          format: "packed",
          pieces: {},
          bits: 4,
          group: 32,
          ordered: false,
          interleavedHeads: 0,
          addend: 0
        } as const
        tensors.set(name, { ...stored, coded })
        const changed: Checkpoint = { ...checkpoint, tensors }
        const error = yield* Effect.fromResult(Result.flip(expect(changed, [expert(0)], dtypes)))
        assert.include(error.message, `${name} is packed`)
      }))
  })
})
