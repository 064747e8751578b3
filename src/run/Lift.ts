import type { Graph, Node, Value } from "../onnx/Graph.ts"

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

/**
 * The linked graph with a batch of one throughout: inputs and outputs but masks and rows are `[1, …]`. Attention and the rotary
 * embedding want it so; without it, six Unsqueeze and Squeeze a layer take 10 % of a token's time (SmolLM2, 4 bits). Undefined where
 * an operator has no such form (Gemm, Reshape).
 */
export const lift = (graph: Graph): Graph | undefined => {
  const flat = new Set(graph.nodes.flatMap(({ inputs: [, , , mask = ""], op }) => op === "Attention" ? [mask] : []))
  const constants = new Set(graph.initializers.map(({ name }) => name))
  const isLifted = ({ dtype, name }: Value): boolean => dtype === "f32" && !flat.has(name)
  const lifted = new Set(graph.inputs.filter(isLifted).map(({ name }) => name))
  const names = new Map<string, string>()
  const nodes: Array<Node> = []
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
    initializers: graph.initializers.filter(({ name }) => read.has(name))
  }
}
