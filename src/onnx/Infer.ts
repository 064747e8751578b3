import { broadcast } from "./Dims.ts"
import type { Graph } from "./Graph.ts"
import { broadcasting, cast, normalized, reduce, same } from "./infer/elementwise.ts"
import {
  concat,
  expand,
  flatten,
  gather,
  oneHot,
  reshape,
  shapeOf,
  slice,
  split,
  squeeze,
  topK,
  transpose,
  unsqueeze
} from "./infer/layout.ts"
import { attention, conv, dequantize, gemm, matMul, matMulNBits, rotary } from "./infer/matrix.ts"
import { broken, type Call, input, type Rule, type Typed } from "./infer/Rule.ts"
import { numbersOf } from "./Numbers.ts"

/** Operators we know the types of, with domain where it is not ai.onnx. */
const rules: Readonly<Record<string, Rule>> = {
  ...Object.fromEntries(
    ["Add", "Sub", "Mul", "Div", "Max", "Min", "And", "Or", "Mod"].map((op) => [op, broadcasting(0)])
  ),
  ...Object.fromEntries(
    ["Equal", "Greater", "GreaterOrEqual", "Less", "LessOrEqual"].map((op) => [op, broadcasting(0, "bool")])
  ),
  ...Object.fromEntries(
    [
      "Abs",
      "Cos",
      "Cumsum",
      "CumSum",
      "Erf",
      "Exp",
      "Gelu",
      "Identity",
      "Log",
      "LogSoftmax",
      "Neg",
      "Not",
      "Reciprocal",
      "Relu",
      "Round",
      "Sigmoid",
      "Sin",
      "Softmax",
      "Softplus",
      "Sqrt",
      "Tanh",
      "Clip",
      "ScatterElements",
      "ScatterND"
    ]
      .map((op) => [op, same])
  ),
  Where: broadcasting(1),
  Pow: (
    call
  ) => [{
    ...input(call, 0),
    values: undefined,
    shape: broadcast([input(call, 0).shape, input(call, 1).shape]) ?? broken(call.op, "cannot broadcast")
  }],
  RMSNormalization: normalized,
  LayerNormalization: normalized,
  ArgMax: reduce("i64", true),
  ...Object.fromEntries(
    ["ReduceMax", "ReduceMean", "ReduceMin", "ReduceSum"].map((op) => [op, reduce(undefined, false)])
  ),
  GatherElements: (call) => [{ dtype: input(call, 0).dtype, shape: input(call, 1).shape }],
  Cast: cast,
  Gemm: gemm,
  MatMul: matMul,
  Transpose: transpose,
  Reshape: reshape,
  Squeeze: squeeze,
  Unsqueeze: unsqueeze,
  Concat: concat,
  Split: split,
  Gather: gather,
  Slice: slice,
  TopK: topK,
  Shape: shapeOf,
  OneHot: oneHot,
  Flatten: flatten,
  RotaryEmbedding: rotary,
  Attention: attention,
  DequantizeLinear: dequantize,
  Conv: conv,
  Expand: expand,
  "com.microsoft.MatMulNBits": matMulNBits
}

/** Types of a node's outputs; throws (a defect: graphs are made by our own code) where they do not fit or are unknown. */
export const inferNode = (domain: string, call: Call): ReadonlyArray<Typed> => {
  const key = domain === "" ? call.op : `${domain}.${call.op}`
  const rule = Object.hasOwn(rules, key) ? rules[key] : undefined
  const types = (rule ?? broken(key, "has no type rule; name the outputs' types"))(call)
  return types.length >= call.outputs
    ? types.slice(0, call.outputs)
    : broken(key, `has ${types.length} outputs, not ${call.outputs}`)
}

/** Types of every value of a graph by name, in the order in which they come to be; throws as `inferNode` does. */
export const typesOf = (graph: Graph): ReadonlyMap<string, Typed> => {
  const types = new Map<string, Typed>(graph.inputs.map(({ dtype, name, shape }) => [name, { dtype, shape }]))
  for (const initializer of graph.initializers) {
    types.set(initializer.name, { dtype: initializer.dtype, shape: initializer.shape, values: numbersOf(initializer) })
  }
  for (const { attributes, domain, inputs, op, outputs } of graph.nodes) {
    const given = inputs.map((name) =>
      name === "" ? undefined : types.get(name) ?? broken(op, `input ${name} is not defined`)
    )
    inferNode(domain, { op, inputs: given, attributes, outputs: outputs.length }).forEach((typed, at) =>
      types.set(outputs[at] ?? "", typed)
    )
  }
  return types
}
