import type { Graph, Initializer, Node } from "../onnx/Graph.ts"
import { byteLength } from "../tensor/DType.ts"

/** Where a weight's numbers are read: a path below the folder of the session, `/` between names. */
export interface Place {
  readonly location: string
  readonly offset: number
  /** of the numbers there, where that is not the graph's */
  readonly dtype?: Initializer["dtype"]
}

const countOf = (shape: ReadonlyArray<number>): number => shape.reduce((all, dim) => all * dim, 1)

/** The graph over the same weights in other places; those of `place` that are undefined stay. Every reader of a weight must take its new dtype (a Cast does). */
export const placed = (graph: Graph, place: (weight: string) => Place | undefined): Graph => ({
  ...graph,
  initializers: graph.initializers.map((initializer) => {
    const { data, dtype, name, shape } = initializer
    const found = data.kind === "external" ? place(name) : undefined
    if (found === undefined) return initializer
    const numbers = found.dtype ?? dtype
    return {
      ...initializer,
      dtype: numbers,
      data: {
        kind: "external",
        location: found.location,
        offset: found.offset,
        length: byteLength(numbers, countOf(shape))
      }
    }
  })
})

/** A product with a stored matrix that nothing else reads, and the Cast between them where there is one. */
interface Product {
  readonly gemm: Node
  readonly cast: Node | undefined
  readonly weight: Initializer
}

const productsOf = ({ initializers, nodes }: Graph): ReadonlyArray<Product> => {
  const weights = new Map(initializers.map((initializer) => [initializer.name, initializer]))
  const makers = new Map(nodes.flatMap((node) => node.outputs.map((output) => [output, node])))
  const readers = Map.groupBy(nodes.flatMap((node) => node.inputs), (name) => name)
  return nodes.flatMap((gemm) => {
    const transposed = gemm.attributes["transB"]
    if (gemm.op !== "Gemm" || gemm.inputs.length !== 2 || transposed?.kind !== "int" || transposed.value !== 1) {
      return []
    }
    const [, right = ""] = gemm.inputs
    const maker = makers.get(right)
    const cast = maker?.op === "Cast" ? maker : undefined
    const weight = weights.get(cast?.inputs[0] ?? right)
    const alone = [right, ...cast?.inputs ?? []].every((name) => (readers.get(name)?.length ?? 0) <= 1)
    return weight === undefined || weight.data.kind !== "external" || !alone ? [] : [{ gemm, cast, weight }]
  })
}

const pieces = ({ cast, gemm, weight }: Product, rows: number) => {
  const [all = 0, columns = 0] = weight.shape
  const { data } = weight
  const row = byteLength(weight.dtype, columns)
  const [left = ""] = gemm.inputs
  return Array.from({ length: Math.ceil(all / rows) }, (_, i) => {
    const name = `${weight.name}.rows_${i}`
    const count = Math.min(rows, all - i * rows)
    const piece: Initializer = {
      name,
      dtype: weight.dtype,
      shape: [count, columns],
      data: data.kind === "external"
        ? { ...data, offset: data.offset + i * rows * row, length: count * row }
        : data
    }
    const float = `${name}_f32`
    const casts = cast === undefined
      ? []
      : [{ ...cast, name: `${cast.name}_${i}`, inputs: [name], outputs: [float] }]
    const output = `${gemm.name}.rows_${i}`
    const product = {
      ...gemm,
      name: output,
      inputs: [left, cast === undefined ? name : float],
      outputs: [output]
    }
    return { piece, nodes: [...casts, product], output }
  })
}

/**
 * Products with matrices larger than `bytes` as f32 become products with runs of their rows, one after the other: a matrix that is
 * cast to f32 while the graph runs then takes no more than that. The numbers are the same.
 */
export const chunked = (graph: Graph, bytes: number): Graph => {
  const large = productsOf(graph).filter(({ weight }) => byteLength("f32", countOf(weight.shape)) > bytes)
  const cut = new Map(large.map((product) => {
    const columns = product.weight.shape[1] ?? 1
    return [product.gemm, pieces(product, Math.max(1, Math.floor(bytes / byteLength("f32", columns))))] as const
  }))
  const gone = new Set(large.flatMap(({ cast }) => cast === undefined ? [] : [cast]))
  const replaced = new Set(large.map(({ weight }) => weight))
  return {
    ...graph,
    initializers: [
      ...graph.initializers.filter((initializer) => !replaced.has(initializer)),
      ...[...cut.values()].flatMap((parts) => parts.map(({ piece }) => piece))
    ],
    nodes: graph.nodes.filter((node) => !gone.has(node)).flatMap((node) => {
      const parts = cut.get(node)
      if (parts === undefined) return [node]
      const together: Node = {
        op: "Concat",
        domain: "",
        name: `${node.name}.rows`,
        inputs: parts.map(({ output }) => output),
        outputs: node.outputs,
        attributes: { axis: { kind: "int", value: 1 } }
      }
      return [...parts.flatMap(({ nodes }) => nodes), together]
    })
  }
}

/** The graph with the value `logits` as its output where it gives the token alone; the others as they are. */
export const withLogits = (graph: Graph): Graph => {
  const made = graph.nodes.some(({ outputs }) => outputs.includes("logits"))
  return made && graph.outputs.some(({ name }) => name === "token")
    ? { ...graph, outputs: [{ name: "logits", dtype: "f32", shape: ["rows", "vocabulary"] }] }
    : graph
}

/** Some products of the graph read codes: activations are rounded in them. */
export const readsCodes = ({ nodes }: Graph): boolean =>
  nodes.some(({ op }) => op === "MatMulNBits" || op === "DequantizeLinear")
