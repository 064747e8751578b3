import { broadcast, quotientOf, sumOf } from "../Dims.ts"
import type { Dim } from "../Graph.ts"
import { broken, dtypeOf, input, int, ints, type Rule, show, type Typed } from "./Rule.ts"

export const gemm: Rule = (call) => {
  const [a, b] = [input(call, 0), input(call, 1)]
  const turned = ({ shape }: Typed, name: string) =>
    int(call, name, 0) === 1 ? [shape[1], shape[0]] : [shape[0], shape[1]]
  const [rows, inner] = turned(a, "transA")
  const [other, columns] = turned(b, "transB")
  if (
    a.shape.length !== 2 || b.shape.length !== 2 || rows === undefined || columns === undefined || inner !== other ||
    a.dtype !== b.dtype
  ) {
    return broken(call.op, `cannot multiply ${show(a)} with ${show(b)}`)
  }
  const c = call.inputs[2]
  if (c !== undefined && (c.dtype !== a.dtype || broadcast([[rows, columns], c.shape])?.length !== 2)) {
    broken(call.op, `bias is ${show(c)}`)
  }
  return [{ dtype: a.dtype, shape: [rows, columns] }]
}

export const matMul: Rule = (call) => {
  const [a, b] = [input(call, 0), input(call, 1)]
  const [rows, inner] = a.shape.slice(-2)
  const [other, columns] = b.shape.slice(-2)
  const batch = broadcast([a.shape.slice(0, -2), b.shape.slice(0, -2)])
  if (
    rows === undefined || inner === undefined || columns === undefined || inner !== other || batch === undefined ||
    a.dtype !== b.dtype
  ) {
    return broken(call.op, `cannot multiply ${show(a)} with ${show(b)}`)
  }
  return [{ dtype: a.dtype, shape: [...batch, rows, columns] }]
}

export const rotary: Rule = (call) => {
  const [x, cos, sin] = [input(call, 0), input(call, 1), input(call, 2)]
  if (x.dtype !== cos.dtype || cos.dtype !== sin.dtype || cos.shape.join() !== sin.shape.join()) {
    broken(call.op, `x is ${show(x)}, cos ${show(cos)}, sin ${show(sin)}`)
  }
  return [{ dtype: x.dtype, shape: x.shape }]
}

/** Y of Attention: `[batch, tokens, q_num_heads · size of v]` for 3-D inputs, `[batch, heads, tokens, size]` for 4-D. */
export const attention: Rule = (call) => {
  const [q, k, v] = [input(call, 0), input(call, 1), input(call, 2)]
  const rank = q.shape.length
  if (
    (rank !== 3 && rank !== 4) || k.shape.length !== rank || v.shape.length !== rank ||
    k.shape[rank - 2] !== v.shape[rank - 2]
  ) {
    return broken(call.op, `q is ${show(q)}, k ${show(k)}, v ${show(v)}`)
  }
  if (rank === 4) return [{ dtype: q.dtype, shape: [...q.shape.slice(0, 3), ...v.shape.slice(3)] }]
  const [queryHeads, heads] = [int(call, "q_num_heads", 0), int(call, "kv_num_heads", 0)]
  const sizes = [
    quotientOf([q.shape[2] ?? 0], [queryHeads]),
    quotientOf([k.shape[2] ?? 0], [heads]),
    quotientOf([v.shape[2] ?? 0], [heads])
  ]
  const size = sizes[2]
  if (size === undefined || sizes[0] === undefined || sizes[0] !== sizes[1] || queryHeads % heads !== 0) {
    return broken(call.op, `${queryHeads} and ${heads} heads do not fit q ${show(q)}, k ${show(k)}, v ${show(v)}`)
  }
  const width = typeof size === "number" ? size * queryHeads : broken(call.op, `size of a head is ${size}`)
  return [{ dtype: q.dtype, shape: [...q.shape.slice(0, 2), width] }]
}

export const dequantize: Rule = (call) => {
  const [x, scale] = [input(call, 0), input(call, 1)]
  const to = int(call, "output_dtype", 0)
  return [{ dtype: to === 0 ? scale.dtype : dtypeOf(call, to), shape: x.shape }]
}

export const matMulNBits: Rule = (call) => {
  const { dtype, shape } = input(call, 0)
  if (shape.at(-1) !== int(call, "K", -1)) {
    broken(call.op, `K is ${int(call, "K", -1)}, x is ${dtype} [${shape.join(", ")}]`)
  }
  return [{ dtype, shape: [...shape.slice(0, -1), int(call, "N", 0)] }]
}

export const conv: Rule = (call) => {
  const [x, w] = [input(call, 0), input(call, 1)]
  const spatial = x.shape.length - 2
  const kernel = w.shape.slice(2)
  const strides = ints(call, "strides") ?? Array.from({ length: spatial }, () => 1)
  const pads = ints(call, "pads") ?? Array.from({ length: 2 * spatial }, () => 0)
  const dilations = ints(call, "dilations") ?? Array.from({ length: spatial }, () => 1)
  const places = x.shape.slice(2).map((dim, at): Dim => {
    const size = kernel[at]
    const [stride = 1, dilation = 1, before = 0, after = 0] = [strides[at], dilations[at], pads[at], pads[at + spatial]]
    if (typeof size !== "number") return broken(call.op, `kernel is ${show(w)}`)
    const margin = before + after - dilation * (size - 1) - 1
    if (typeof dim === "number") return Math.floor((dim + margin) / stride) + 1
    return margin === -1 && stride === 1
      ? dim
      : stride === 1
      ? sumOf([dim, margin + 1])
      : broken(call.op, `length over ${dim} is unknown`)
  })
  return [{ dtype: x.dtype, shape: [x.shape[0] ?? 1, w.shape[0] ?? 1, ...places] }]
}
