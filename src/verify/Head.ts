import type { Graph, Initializer, Node } from "../onnx/Graph.ts"
import { deadNodes } from "../onnx/pass/dead-nodes.ts"
import { byteLength } from "../tensor/DType.ts"

/** A graph whose last large product stands alone, so that its matrix is never whole in memory. */
export interface Severed {
  /** all before the product; its one output is the product's input `[rows × in]` */
  readonly body: Graph
  /** products with runs of the matrix's rows, each from the body's output to the next columns of the product */
  readonly pieces: ReadonlyArray<Graph>
  /** all behind the product, from its output to the graph's; undefined where nothing is */
  readonly tail: Graph | undefined
}

const countOf = (shape: ReadonlyArray<number>): number => shape.reduce((all, dim) => all * dim, 1)

/** Rows `from` to `to` of a constant whose first dimension is `rows`, or a multiple of it. */
const rowsFrom = (initializer: Initializer, rows: number, from: number, to: number): Initializer => {
  const { data, dtype, shape: [first = 0, ...rest] } = initializer
  const each = first / rows
  const bytes = byteLength(dtype, each * countOf(rest))
  return {
    ...initializer,
    shape: [(to - from) * each, ...rest],
    data: data.kind === "inline"
      ? { kind: "inline", bytes: data.bytes.slice(from * bytes, to * bytes) }
      : { ...data, offset: data.offset + from * bytes, length: (to - from) * bytes }
  }
}

/** The constants of a product, by the names that it reads: as they are, or through a Cast. */
const constantsOf = ({ initializers, nodes }: Graph, { inputs }: Node) =>
  inputs.slice(1).map((name) => {
    const cast = nodes.find(({ op, outputs }) => op === "Cast" && outputs[0] === name)
    const found = initializers.find((initializer) => initializer.name === (cast?.inputs[0] ?? name))
    return found === undefined ? undefined : { initializer: found, casts: cast === undefined ? [] : [cast] }
  }).filter((constant) => constant !== undefined)

/** Rows of the product's matrix where its constants can be cut by them: a stored matrix, or codes and scales. */
const cuttable = (graph: Graph, node: Node): number => {
  const width = node.op === "Gemm" ? 2 : node.op === "MatMulNBits" ? 3 : 0
  const constants = constantsOf(graph, node)
  if (node.inputs.length !== width || constants.length !== width - 1) return 0
  const rows = node.op === "Gemm" ? constants[0]?.initializer.shape[0] : node.attributes["N"]?.value
  return typeof rows === "number" && constants.every(({ initializer }) => (initializer.shape[0] ?? 0) % rows === 0)
    ? rows
    : 0
}

const largest = (graph: Graph, node: Node): number =>
  Math.max(0, ...constantsOf(graph, node).map(({ initializer: { dtype, shape } }) => byteLength(dtype, countOf(shape))))

/** The last product cut into pieces of some `bytes` of its matrix; undefined where it is smaller, or of another kind. */
export const severed = (graph: Graph, bytes: number): Severed | undefined => {
  const node = graph.nodes.findLast((one) => cuttable(graph, one) > 0)
  const [output] = graph.outputs
  if (node === undefined || output === undefined || graph.outputs.length > 1 || largest(graph, node) <= bytes) {
    return undefined
  }
  const rows = cuttable(graph, node)
  const [input = ""] = node.inputs
  const [product = ""] = node.outputs
  const at = graph.nodes.indexOf(node)
  const behind = graph.nodes.slice(at + 1)
  const made = new Set([product])
  for (const later of behind) {
    if (later.inputs.some((name) => made.has(name))) { for (const name of later.outputs) made.add(name) }
  }
  // all that is behind must come from the product alone, and the product must be behind all that is before
  const after = behind.filter(({ inputs }) => inputs.some((name) => made.has(name)))
  if (
    after.some(({ inputs }) =>
      inputs.some((name) => graph.nodes.slice(0, at).some(({ outputs }) => outputs.includes(name)))
    )
  ) {
    return undefined
  }
  const constants = constantsOf(graph, node)
  const step = Math.max(1, Math.floor(bytes * rows / largest(graph, node)))
  const matrix = { name: input, dtype: "f32", shape: ["rows", "width"] } as const
  const result = { name: product, dtype: "f32", shape: ["rows", "columns"] } as const
  const pieces = Array.from({ length: Math.ceil(rows / step) }, (_, i): Graph => {
    const [from, to] = [i * step, Math.min(rows, (i + 1) * step)]
    return {
      ...graph,
      inputs: [matrix],
      outputs: [result],
      initializers: constants.map(({ initializer }) => rowsFrom(initializer, rows, from, to)),
      nodes: [
        ...constants.flatMap(({ casts }) => casts),
        node.op === "Gemm"
          ? node
          : { ...node, attributes: { ...node.attributes, N: { kind: "int", value: to - from } } }
      ]
    }
  })
  return {
    body: deadNodes.run({
      ...graph,
      outputs: [matrix],
      nodes: graph.nodes.filter((one) => one !== node && !after.includes(one))
    }),
    pieces,
    tail: after.length === 0 ? undefined : deadNodes.run({ ...graph, inputs: [result], nodes: after })
  }
}

/** Matrices side by side: each `[rows × its columns]`. */
export const beside = (parts: ReadonlyArray<Float32Array>, rows: number): Float32Array => {
  const columns = parts.map(({ length }) => length / Math.max(1, rows))
  const all = columns.reduce((sum, count) => sum + count, 0)
  const together = new Float32Array(rows * all)
  let start = 0
  for (const [at, part] of parts.entries()) {
    const count = columns[at] ?? 0
    for (let row = 0; row < rows; row++) {
      together.set(part.subarray(row * count, (row + 1) * count), row * all + start)
    }
    start += count
  }
  return together
}
