import type { Graph, Initializer, Node, Value } from "../onnx/Graph.ts"
import { bytesOf, numbersOf as numbers } from "../onnx/Numbers.ts"

/** Operators whose result has the shape of what goes in, and which look at the last dimension at most. */
const shapeless = new Set(
  "Add Sub Mul Div Sigmoid Tanh Gelu Erf Softplus Relu Neg Sqrt Exp Min Max Clip Cast Identity MatMulNBits RotaryEmbedding SkipSimplifiedLayerNormalization"
    .split(" ")
)
/** Operators with an axis that must be the last one. */
const lastAxis = new Set(["RMSNormalization", "LayerNormalization", "Softmax", "ArgMax"])
/** Operators whose axis moves by one. */
const moving = new Set(["Split", "Concat", "Gather"])

const axisOf = ({ attributes: { axis }, op }: Node): number =>
  axis?.kind === "int" ? axis.value : op === "Gather" || op === "Split" ? 0 : -1

const moved = (node: Node): Node => {
  const axis = axisOf(node)
  return axis < 0 ? node : { ...node, attributes: { ...node.attributes, axis: { kind: "int", value: axis + 1 } } }
}

const batched = (value: Value): Value => ({ ...value, shape: [1, ...value.shape] })

const isZero = (graph: Graph, name: string): boolean => {
  const found = graph.initializers.find((initializer) => initializer.name === name)
  return found?.data.kind === "inline" && found.data.bytes.every((byte) => byte === 0)
}

const int64s = (name: string, values: ReadonlyArray<number>): Initializer => ({
  name,
  dtype: "i64",
  shape: [values.length],
  data: { kind: "inline", bytes: bytesOf("i64", values) }
})

/** What stands for a node that has another form with a batch before. */
interface Replaced {
  readonly nodes: ReadonlyArray<Node>
  readonly initializers: ReadonlyArray<Initializer>
}

const isOne = ({ attributes }: Node, name: string): boolean => {
  const attribute = attributes[name]
  return attribute === undefined || (attribute.kind === "float" && attribute.value === 1)
}

/** `Gemm(x, W, c)` as `FusedMatMul(x, W) + c`, which takes any number of dimensions. */
const liftGemm = (node: Node): Replaced | undefined => {
  const { transA, transB } = node.attributes
  const [x = "", weight = "", add = ""] = node.inputs
  if (transA?.kind === "int" && transA.value !== 0) return undefined
  if (!isOne(node, "alpha") || !isOne(node, "beta")) return undefined
  const product = add === "" ? node.outputs[0] ?? "" : `${node.name}.lifted`
  const multiply: Node = {
    op: "FusedMatMul",
    domain: "com.microsoft",
    name: product,
    inputs: [x, weight],
    outputs: [product],
    attributes: { transB: transB ?? { kind: "int", value: 0 } }
  }
  const sum: Node = {
    op: "Add",
    domain: "",
    name: node.name,
    inputs: [product, add],
    outputs: node.outputs,
    attributes: {}
  }
  return { nodes: add === "" ? [multiply] : [multiply, sum], initializers: [] }
}

/** A Reshape that keeps the tokens, or a ReduceSum over axes counted from the front. */
const liftAxes = (node: Node, numbers: ReadonlyArray<number> | undefined): Replaced | undefined => {
  const [x = "", name = ""] = node.inputs
  if (numbers === undefined || (node.op === "Reshape" && numbers[0] !== 0)) return undefined
  const moved = int64s(
    `${name}.lifted`,
    node.op === "Reshape" ? [0, ...numbers] : numbers.map((axis) => axis < 0 ? axis : axis + 1)
  )
  return { nodes: [{ ...node, inputs: [x, moved.name] }], initializers: [moved] }
}

/**
 * The linked graph with a batch of one throughout: inputs and outputs but masks and rows are `[1, …]`. Attention and the rotary
 * embedding want it so; without it, six Unsqueeze and Squeeze a layer take 10 % of a token's time (SmolLM2, 4 bits). Undefined where
 * an operator has no such form.
 */
export const lift = (graph: Graph): Graph | undefined => {
  const flat = new Set(graph.nodes.flatMap(({ inputs: [, , , mask = ""], op }) => op === "Attention" ? [mask] : []))
  const constants = new Set(graph.initializers.map(({ name }) => name))
  const isLifted = ({ dtype, name }: Value): boolean => dtype === "f32" && !flat.has(name)
  const lifted = new Set(graph.inputs.filter(isLifted).map(({ name }) => name))
  const names = new Map<string, string>()
  const nodes: Array<Node> = []
  const added = new Map<string, Initializer>()
  const numbersOf = (name: string): ReadonlyArray<number> | undefined => {
    const found = graph.initializers.find((initializer) => initializer.name === name)
    return found?.dtype === "i64" ? numbers(found) : undefined
  }
  for (const old of graph.nodes) {
    const node = { ...old, inputs: old.inputs.map((name) => names.get(name) ?? name) }
    const [first = "", second = ""] = node.inputs
    const [output = ""] = node.outputs
    if (node.inputs.every((name) => constants.has(name))) {
      node.outputs.forEach((name) => constants.add(name))
      nodes.push(node)
      continue
    }
    const known = lifted.has(first) || (constants.has(first) && lifted.has(second))
    if (!known) return undefined
    if (node.op === "Unsqueeze" || node.op === "Squeeze") {
      if (!isZero(graph, second)) return undefined
      names.set(output, first)
      continue
    }
    const replaced = node.op === "Gemm" && !constants.has(first)
      ? liftGemm(node)
      : node.op === "Reshape" || node.op === "ReduceSum"
      ? liftAxes(node, numbersOf(second))
      : undefined
    if (replaced !== undefined) {
      for (const one of replaced.nodes) one.outputs.forEach((name) => lifted.add(name))
      for (const one of replaced.initializers) added.set(one.name, one)
      nodes.push(...replaced.nodes)
      continue
    }
    const able = shapeless.has(node.op) || node.op === "Attention" || moving.has(node.op) ||
      (lastAxis.has(node.op) && axisOf(node) === -1)
    if (!able) return undefined
    node.outputs.forEach((name) => lifted.add(name))
    nodes.push(moving.has(node.op) ? moved(node) : node)
  }
  // an output that would be another name for a value stays an output by a copy; there is none in what families make
  if (graph.outputs.some(({ name }) => names.has(name))) return undefined
  const read = new Set(nodes.flatMap(({ inputs }) => inputs))
  return {
    ...graph,
    inputs: graph.inputs.map((value) => isLifted(value) ? batched(value) : value),
    outputs: graph.outputs.map(batched),
    nodes,
    initializers: [...graph.initializers, ...added.values()].filter(({ name }) => read.has(name))
  }
}
