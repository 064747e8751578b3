import * as NodeServices from "@effect/platform-node/NodeServices"
import { assert, layer } from "@effect/vitest"
import { Effect, Result, Runtime } from "effect"
import { join } from "node:path"
import * as Checkpoint from "../../src/source/Checkpoint.ts"
import type { Tensor } from "../../src/tensor/Tensor.ts"

const control = Checkpoint.open(join(import.meta.dirname, "../fixtures/negative/control"))

const hints = () => ["the files hold exactly the tensors of qwen3"]

/** The control, which asks for all that it has, with one tensor more; `format`: of the weight beside it. */
const judged = (leftover: string, format?: string) =>
  Effect.gen(function*() {
    const checkpoint = yield* control
    const expected = Array.from(checkpoint.tensors.values(), ({ name, shape }) => ({ name, shape }))
    const range = { file: "model.safetensors", offset: 0, length: 0 }
    const added: Tensor = { name: leftover, dtype: "bf16", shape: [16], range }
    const tensors = new Map([...checkpoint.tensors, [leftover, added]])
    const weight = tensors.get(leftover.replace(/bias$/, "weight"))
    if (format !== undefined && weight !== undefined) {
      const coded = { format, pieces: {}, bits: 4, group: 32, ordered: false, interleavedHeads: 0, addend: 0 } as const
      tensors.set(weight.name, { ...weight, coded })
    }
    return Checkpoint.expect({ ...checkpoint, tensors }, expected, ["bf16"], hints)
  })

layer(NodeServices.layer)("expect, of leftovers", (it) => {
  it.effect.each([
    "model.layers.0.self_attn.q_norm.weight",
    "model.layers.1.self_attn.q_proj.bias",
    "model.layers.1.mlp.down_proj.lora_A.weight",
    "model.norm.bias",
    "lm_head.bias"
  ])("refuses %s", (name) =>
    Effect.gen(function*() {
      const result = yield* judged(name)
      assert.isTrue(Result.isFailure(result))
      if (Result.isSuccess(result)) return
      assert.strictEqual(result.failure[Runtime.errorExitCode], 4)
      assert.include(result.failure.message, "1 tensor of the decoder has no place")
      assert.include(result.failure.message, name)
      assert.include(result.failure.message, "exactly the tensors of qwen3")
      assert.include(result.failure.message, "the tokens would be wrong")
    }))

  it.effect.each(
    [
      ["model.layers.0.self_attn.rotary_emb.inv_freq", 0],
      ["model.layers.0.self_attn.bias", 0],
      ["model.layers.0.attn.masked_bias", 0],
      ["model.layers.0.self_attn.k_scale", 1],
      ["model.layers.0.self_attn.v_proj.output_scale", 1],
      // a next-token layer behind the two of config.json
      ["model.layers.2.eh_proj.weight", 1],
      ["model.vision_tower.encoder.layers.0.mlp.fc1.weight", 1],
      ["mtp.layers.0.mlp.up_proj.weight", 1]
    ] as const
  )("lets %s pass", ([name, told]) =>
    Effect.gen(function*() {
      const { unused } = yield* Effect.fromResult(yield* judged(name))
      assert.strictEqual(unused.length, told)
    }))

  it.effect("lets the zero biases of GPTQ tools pass", () =>
    Effect.gen(function*() {
      const name = "model.layers.0.self_attn.q_proj.bias"
      const { unused } = yield* Effect.fromResult(yield* judged(name, "gptq"))
      assert.deepStrictEqual(unused, [name])
      assert.isTrue(Result.isFailure(yield* judged(name, "gguf/Q4_K")))
    }))
})
