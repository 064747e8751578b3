import type { Attribute, Graph, Initializer, Node } from "../onnx/Graph.ts"
import type { Form } from "../tensor/Coded.ts"
import type { DType } from "../tensor/DType.ts"
import type { BlobWeight } from "./Blob.ts"

/** A matrix product of a graph whose weight can become codes: `y = x · Wᵀ (+ bias)`, W `[rows × columns]`. */
export interface Linear {
  /** name of the Gemm */
  readonly node: string
  /** name of the initialiser that holds the weight */
  readonly weight: string
  readonly dtype: DType
  readonly rows: number
  readonly columns: number
  /** W is stored as `[columns × rows]` */
  readonly transposed: boolean
}

const weightTypes: ReadonlySet<DType> = new Set(["f32", "f16", "bf16"])

const isInt = (attribute: Attribute | undefined, value: number): boolean =>
  attribute?.kind === "int" && attribute.value === value

/** Names of weights by the values that carry them: the initialiser itself, or its Cast to f32. */
const carriers = (graph: Graph): ReadonlyMap<string, Initializer> => {
  const weights = new Map(
    graph.initializers
      .filter(({ data, dtype, shape }) => data.kind === "external" && shape.length === 2 && weightTypes.has(dtype))
      .map((initializer) => [initializer.name, initializer])
  )
  const casts = graph.nodes.flatMap(({ attributes, inputs: [input = ""], op, outputs: [output] }) => {
    const weight = op === "Cast" && isInt(attributes["to"], 1) ? weights.get(input) : undefined
    return weight === undefined || output === undefined ? [] : [[output, weight] as const]
  })
  const plain = Array.from(weights).filter(([, { dtype }]) => dtype === "f32")
  return new Map([...plain, ...casts])
}

const isTurned = ({ attributes }: Node): boolean => isInt(attributes["transB"], 1)

/** The products of a graph and the weight of each. */
export const products = (graph: Graph): ReadonlyMap<Node, Initializer> => {
  const carried = carriers(graph)
  return new Map(graph.nodes.flatMap((node) => {
    const weight = node.op === "Gemm" ? carried.get(node.inputs[1] ?? "") : undefined
    return weight === undefined ? [] : [[node, weight] as const]
  }))
}

/** Every Gemm over an external float matrix, as stored or through a Cast to f32, in graph order. */
export const quantizable = (graph: Graph): ReadonlyArray<Linear> =>
  Array.from(products(graph), ([node, weight]) => {
    const transposed = !isTurned(node)
    const [rows = 0, columns = 0] = transposed ? weight.shape.toReversed() : weight.shape
    return { node: node.name, weight: weight.name, dtype: weight.dtype, rows, columns, transposed }
  })

/** The weights of a graph's products that get a form, each once, in graph order. */
export const weightsOf = (
  graph: Graph,
  formOf: (weight: string) => Form | undefined
): ReadonlyArray<BlobWeight> =>
  Array.from(new Map(quantizable(graph).map((linear) => [linear.weight, linear])).values()).flatMap(
    ({ columns, rows, transposed, weight }) => {
      const form = formOf(weight)
      return form === undefined ? [] : [{ name: weight, rows, columns, form, ...transposed ? { transposed } : {} }]
    }
  )
