import type { Attribute, Graph, Initializer, Node } from "../../onnx/Graph.ts"
import type { Pass } from "../../onnx/pass/Pass.ts"

/** What is added to a product: `Gemm(sums, minimum + shift of the scales, product)`; see `centre`. */
interface Addition {
  readonly gemm: Node
  /** Add, and the Mul before it */
  readonly add: Node
  readonly shift: Node
  readonly minimum: Initializer
}

/** One of the products that are put side by side. */
interface Product {
  readonly node: Node
  readonly addition: Addition | undefined
  readonly codes: Initializer
  /** the scales' initialiser, and the Cast that makes f32 of it, where there is one */
  readonly scales: Initializer
  readonly cast: Node | undefined
  readonly bias: string
  readonly rows: number
}

const int = (value: number): Attribute => ({ kind: "int", value })

const rowsOf = ({ attributes: { N } }: Node): number => N?.kind === "int" ? N.value : 0

/** All that must be equal in products that become one; `N` is what differs. */
const kindOf = ({ addition, cast, codes, node, scales }: Product): string => {
  const { N: _, ...rest } = node.attributes
  const added = addition === undefined ? undefined : [addition.gemm.inputs[0], addition.shift.inputs[1]]
  return JSON.stringify([
    node.inputs[0],
    rest,
    cast?.attributes,
    codes.dtype,
    codes.shape.slice(1),
    scales.dtype,
    added
  ])
}

/** The bytes of the second follow those of the first. */
const follows = ({ data: first }: Initializer, { data: second }: Initializer): boolean =>
  first.kind === "external" && second.kind === "external" && first.location === second.location &&
  first.offset + first.length === second.offset

const joined = (
  name: string,
  all: ReadonlyArray<Initializer>,
  shape: ReadonlyArray<number>
): Initializer | undefined => {
  const [first] = all
  if (first === undefined || first.data.kind !== "external") return undefined
  const length = all.reduce((sum, { data }) => sum + (data.kind === "external" ? data.length : 0), 0)
  return { name, dtype: first.dtype, shape, data: { ...first.data, length } }
}

/** What stands in the place of a Concat of products. */
interface Fused {
  readonly nodes: ReadonlyArray<Node>
  readonly initializers: ReadonlyArray<Initializer>
}

/** The additions of products as one, to the joint product `codes`; its constants and nodes. */
const fuseAdditions = (
  concat: Node,
  products: ReadonlyArray<Product>,
  scales: string,
  codes: string
): Fused | undefined => {
  const additions = products.flatMap(({ addition }) => addition === undefined ? [] : [addition])
  const [first] = additions
  if (first === undefined) return { initializers: [], nodes: [] }
  const touching = additions.slice(1).every(({ minimum }, i) => follows((additions[i] ?? first).minimum, minimum))
  const [, ...rest] = first.minimum.shape
  const rows = additions.reduce((sum, { minimum }) => sum + (minimum.shape[0] ?? 0), 0)
  const minimum = touching
    ? joined(`${concat.name}.minimum`, additions.map((addition) => addition.minimum), [rows, ...rest])
    : undefined
  if (minimum === undefined) return undefined
  const [shift, whole] = [`${minimum.name}.shift`, `${minimum.name}.centred`]
  return {
    initializers: [minimum],
    nodes: [
      { ...first.shift, name: shift, inputs: [scales, first.shift.inputs[1] ?? ""], outputs: [shift] },
      { ...first.add, name: whole, inputs: [minimum.name, shift], outputs: [whole] },
      { ...first.gemm, name: concat.name, inputs: [first.gemm.inputs[0] ?? "", whole, codes], outputs: concat.outputs }
    ]
  }
}

const fuse = (concat: Node, products: ReadonlyArray<Product>): Fused | undefined => {
  const [first] = products
  if (first === undefined || products.length < 2) return undefined
  const pairs = products.slice(1).map((product, i) => [products[i] ?? product, product] as const)
  const alike = products.every((product) => kindOf(product) === kindOf(first))
  const touching = pairs.every(([a, b]) => follows(a.codes, b.codes) && follows(a.scales, b.scales))
  const biased = products.filter(({ bias }) => bias !== "").length
  if (!alike || !touching || (biased !== 0 && biased !== products.length)) return undefined
  const rows = products.reduce((sum, product) => sum + product.rows, 0)
  const [, ...rest] = first.codes.shape
  const [, ...scaleRest] = first.scales.shape
  const codes = joined(`${concat.name}.codes`, products.map((product) => product.codes), [rows, ...rest])
  const scales = joined(`${concat.name}.scales`, products.map((product) => product.scales), [rows, ...scaleRest])
  if (codes === undefined || scales === undefined) return undefined
  const bias = `${concat.name}.bias`
  const value = first.cast === undefined ? scales.name : `${concat.name}.scales_f32`
  const sum = first.addition === undefined ? undefined : `${concat.name}.product`
  const additions = fuseAdditions(concat, products, value, sum ?? "")
  if (additions === undefined) return undefined
  const inputs = [first.node.inputs[0] ?? "", codes.name, value, "", "", ...biased === 0 ? [] : [bias]]
  while (inputs.at(-1) === "") inputs.pop()
  return {
    initializers: [codes, scales, ...additions.initializers],
    nodes: [
      ...(first.cast === undefined ? [] : [{ ...first.cast, name: value, inputs: [scales.name], outputs: [value] }]),
      // constants side by side: onnxruntime folds this when it loads the graph
      ...(biased === 0 ? [] : [{
        ...concat,
        name: bias,
        inputs: products.map((product) => product.bias),
        outputs: [bias],
        attributes: { axis: int(0) }
      }]),
      {
        ...first.node,
        name: sum ?? concat.name,
        inputs,
        outputs: sum === undefined ? concat.outputs : [sum],
        attributes: { ...first.node.attributes, N: int(rows) }
      },
      ...additions.nodes
    ]
  }
}

/**
 * `Concat` along the last dimension of MatMulNBits over one input becomes one MatMulNBits where codes and scales touch in one
 * file (q, k, v; gate, up), with what is added to them (`centre`). Biases: all or none. Products with zero points of their own
 * stay apart.
 */
export const fuseConcat = {
  name: "fuse-concat",
  run: (graph: Graph): Graph => {
    const makers = new Map(graph.nodes.flatMap((node) => node.outputs.map((output) => [output, node] as const)))
    const initializers = new Map(graph.initializers.map((initializer) => [initializer.name, initializer]))
    const uses = new Map<string, number>()
    for (const name of [...graph.nodes.flatMap(({ inputs }) => inputs), ...graph.outputs.map(({ name }) => name)]) {
      uses.set(name, (uses.get(name) ?? 0) + 1)
    }
    const additionOf = (gemm: Node | undefined): Addition | undefined => {
      const add = makers.get(gemm?.inputs[1] ?? "")
      const shift = makers.get(add?.inputs[1] ?? "")
      const minimum = initializers.get(add?.inputs[0] ?? "")
      return gemm?.op === "Gemm" && add?.op === "Add" && shift?.op === "Mul" && minimum !== undefined
        ? { gemm, add, shift, minimum }
        : undefined
    }
    const productOf = (value: string): Product | undefined => {
      const addition = additionOf(makers.get(value))
      const product = addition?.gemm.inputs[2] ?? value
      const node = makers.get(product)
      if (node?.op !== "MatMulNBits" || uses.get(value) !== 1 || uses.get(product) !== 1) return undefined
      const [, codesName = "", scalesName = "", zeroPoints = "", groups = "", bias = ""] = node.inputs
      const maker = makers.get(scalesName)
      const cast = maker?.op === "Cast" ? maker : undefined
      const codes = initializers.get(codesName)
      const scales = initializers.get(cast?.inputs[0] ?? scalesName)
      if (
        codes === undefined || scales === undefined || scales.shape.length !== 2 || zeroPoints !== "" || groups !== ""
      ) {
        return undefined
      }
      return { node, addition, codes, scales, cast, bias, rows: rowsOf(node) }
    }
    const added: Array<Initializer> = []
    const nodes = graph.nodes.flatMap((node): ReadonlyArray<Node> => {
      const { axis } = node.attributes
      if (node.op !== "Concat" || axis?.kind !== "int" || (axis.value !== 1 && axis.value !== -1)) return [node]
      const products = node.inputs.map(productOf)
      const known = products.filter((product) => product !== undefined)
      const fused = known.length === products.length ? fuse(node, known) : undefined
      if (fused === undefined) return [node]
      added.push(...fused.initializers)
      return fused.nodes
    })
    return { ...graph, nodes, initializers: [...graph.initializers, ...added] }
  }
} as const satisfies Pass
