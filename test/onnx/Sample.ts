import { Builder, type Ref } from "../../src/onnx/Builder.ts"
import type { Graph, Value } from "../../src/onnx/Graph.ts"
import { merge } from "../../src/onnx/Merge.ts"
import type { DType } from "../../src/tensor/DType.ts"
import { byteLength } from "../../src/tensor/DType.ts"
import type { Tensor } from "../../src/tensor/Tensor.ts"

/** Sizes of a decoder layer small enough for tests: heads of 8, two query heads a key-value head. */
export const sizes = { hidden: 32, heads: 4, keyValueHeads: 2, headSize: 8, intermediate: 48 } as const

const file = "/models/tiny/model-00001.safetensors"

/** Hands out tensors one after the other in one file, from byte 134 (no alignment, as in safetensors). */
export const tensors = () => {
  let offset = 134
  return (name: string, shape: ReadonlyArray<number>, dtype: DType = "bf16"): Tensor => {
    const length = byteLength(dtype, shape.reduce((all, dim) => all * dim, 1))
    const tensor = { name, dtype, shape, range: { file, offset, length } }
    offset += length
    return tensor
  }
}

/** Bytes that the file of `tensors` must have for the sample layer. */
export const fileLength = 134 + 2 * (32 * 3 + 64 * 32 + 64 + 32 * 32 + 3 * 48 * 32)

/** hidden, cos, sin → q, k, v. */
export const pre = (): Graph => {
  const next = tensors()
  const builder = new Builder("group_pre_0")
  const hidden = builder.input("hidden", "f32", ["tokens", sizes.hidden])
  const cos = builder.unsqueeze(builder.input("cos", "f32", ["tokens", sizes.headSize / 2]), [0])
  const sin = builder.unsqueeze(builder.input("sin", "f32", ["tokens", sizes.headSize / 2]), [0])
  const normed = builder.rmsNorm(hidden, builder.weight(next("input_layernorm.weight", [sizes.hidden])), 1e-5)
  const both = builder.linear(normed, next("qkv.weight", [64, sizes.hidden]), next("qkv.bias", [64]))
  const [q, k, v] = builder.split(both, [32, 16, 16], 1)
  if (q === undefined || k === undefined || v === undefined) throw new Error("split gives three")
  const turn = (x: Ref, heads: number) =>
    builder.squeeze(builder.rotary(builder.unsqueeze(x, [0]), cos, sin, heads), [0])
  builder.output("q", turn(q, sizes.heads))
  builder.output("k", turn(k, sizes.keyValueHeads))
  builder.output("v", v)
  builder.metadata("llima.part", "group_pre_0")
  return builder.build()
}

/** q, K, V, mask → attended. */
export const cache = (): Graph => {
  const builder = new Builder("group_cache_0")
  const q = builder.unsqueeze(builder.input("q", "f32", ["tokens", 32]), [0])
  const k = builder.unsqueeze(builder.input("K", "f32", ["context", 16]), [0])
  const v = builder.unsqueeze(builder.input("V", "f32", ["context", 16]), [0])
  const mask = builder.input("mask", "f32", ["tokens", "context"])
  const attended = builder.attention(q, k, v, mask, { qHeads: 4, kvHeads: 2, scale: 0.35, softcap: 50 })
  builder.output("attended", builder.squeeze(attended, [0]))
  return builder.build()
}

/** attended, hidden, rows → hidden_out, token. */
export const post = (): Graph => {
  const next = tensors()
  next("input_layernorm.weight", [sizes.hidden])
  next("qkv.weight", [64, sizes.hidden])
  next("qkv.bias", [64])
  const builder = new Builder("group_post_0")
  const attended = builder.input("attended", "f32", ["tokens", 32])
  const hidden = builder.input("hidden", "f32", ["tokens", 32])
  const rows = builder.input("rows", "i64", ["rows"])
  const afterAttention = builder.add(hidden, builder.linear(attended, next("o_proj.weight", [32, 32])))
  const normed = builder.rmsNorm(afterAttention, builder.weight(next("post_attention_layernorm.weight", [32])), 1e-5)
  const gate = builder.silu(builder.linear(normed, next("gate_proj.weight", [48, 32])))
  const up = builder.linear(normed, next("up_proj.weight", [48, 32]))
  const out = builder.add(afterAttention, builder.linear(builder.mul(gate, up), next("down_proj.weight", [32, 48])))
  const wide = builder.layerNorm(builder.gather(out, rows), builder.weight(next("norm.weight", [32])), undefined, 1e-5)
  builder.output("hidden_out", out)
  builder.output("token", builder.argMax(builder.softmax(builder.geluTanh(builder.tanh(builder.gelu(wide))))))
  return builder.build()
}

/** A graph from numbers: each takes one of the values so far and does one thing to it. */
export const random = (steps: ReadonlyArray<number>): Graph => {
  const builder = new Builder("random")
  const next = tensors()
  const values: Array<Ref> = [builder.input("x", "f32", ["tokens", 12]), builder.input("y", "f32", ["tokens", 12])]
  steps.forEach((step, at) => {
    const x = values[step % values.length] ?? values[0]
    if (x === undefined) return
    const flat = x.shape.length === 2 ? x : builder.squeeze(x, [0])
    const lifted = x.shape.length === 3 ? x : builder.unsqueeze(x, [0])
    const makers = [
      () => builder.add(flat, builder.constant("half", "f32", [1], [step / 7])),
      () => builder.linear(flat, next(`w${at}`, [12, 12], step % 3 === 0 ? "f32" : "bf16")),
      () => lifted,
      () => builder.squeeze(lifted, [0]),
      () => builder.op("Identity", [x]),
      () => builder.silu(x),
      () => builder.concat(builder.split(flat, [5, 7], 1), 1),
      () => builder.rmsNorm(x, builder.constant("ones", "f32", [12], Array.from({ length: 12 }, () => 1)), 1e-6),
      () => builder.reshape(lifted, [0, -1, 12])
    ]
    values.push(makers[(step >> 4) % makers.length]?.() ?? x)
  })
  values.slice(-3).forEach((value, at) => builder.output(`out${at}`, value))
  return builder.build()
}

const f32 = (name: string, ...shape: ReadonlyArray<number | string>): Value => ({ name, dtype: "f32", shape })

/** The parts of the layer linked: hidden, cos, sin, K, V, mask, rows → token, k, v. */
export const layer = (): Graph => {
  return merge(
    "layer",
    [
      { prefix: "0.pre.", graph: pre(), bind: {}, emit: { q: "0.q", k: "k", v: "v" } },
      { prefix: "0.cache.", graph: cache(), bind: { q: "0.q" }, emit: { attended: "0.attended" } },
      { prefix: "0.post.", graph: post(), bind: { attended: "0.attended" }, emit: { token: "token" } }
    ],
    [
      f32("hidden", "tokens", 32),
      f32("cos", "tokens", 4),
      f32("sin", "tokens", 4),
      f32("K", "context", 16),
      f32("V", "context", 16),
      f32("mask", "tokens", "context"),
      { name: "rows", dtype: "i64", shape: ["rows"] }
    ],
    [{ name: "token", dtype: "i64", shape: ["rows"] }, f32("k", "tokens", 16), f32("v", "tokens", 16)]
  )
}
