import type { Attribute, Graph, Initializer, Node } from "../onnx/Graph.ts"
import type { DType } from "../tensor/DType.ts"
import { type BlobLayout, type BlobWeight, BLOCK, type PlacedWeight, zeroBytes } from "./Blob.ts"
import { bitsOf, type Scheme } from "./scheme/Scheme.ts"

/** A matrix product of a graph whose weight can become codes: `y = x · Wᵀ (+ bias)`, W `[rows × columns]`. */
export interface Linear {
  /** name of the Gemm */
  readonly node: string
  /** name of the initialiser that holds the weight */
  readonly weight: string
  readonly dtype: DType
  readonly rows: number
  readonly columns: number
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

/** The products of a graph and the weight of each. */
const products = (graph: Graph): ReadonlyMap<Node, Initializer> => {
  const carried = carriers(graph)
  return new Map(graph.nodes.flatMap((node) => {
    const weight = node.op === "Gemm" && isInt(node.attributes["transB"], 1)
      ? carried.get(node.inputs[1] ?? "")
      : undefined
    return weight === undefined ? [] : [[node, weight] as const]
  }))
}

/** Every Gemm(transB=1) over an external float matrix, as stored or through a Cast to f32, in graph order. */
export const quantizable = (graph: Graph): ReadonlyArray<Linear> =>
  Array.from(products(graph), ([{ name }, weight]) => {
    const [rows = 0, columns = 0] = weight.shape
    return { node: name, weight: weight.name, dtype: weight.dtype, rows, columns }
  })

/** The weights of a graph's products under a scheme, each once, in graph order; `head` names the output head's weight. */
export const weightsOf = (graph: Graph, scheme: Scheme, head: string): ReadonlyArray<BlobWeight> =>
  Array.from(new Map(quantizable(graph).map((linear) => [linear.weight, linear])).values(), (linear) => ({
    name: linear.weight,
    rows: linear.rows,
    columns: linear.columns,
    bits: bitsOf(scheme, linear.weight, head)
  }))

/** Where the codes are, and how. */
export interface QuantizeOptions {
  /** the blob, relative to the graph's own file */
  readonly location: string
  readonly layout: BlobLayout
}

const int = (value: number): Attribute => ({ kind: "int", value })

const int64s = (values: ReadonlyArray<number>): Uint8Array =>
  new Uint8Array(BigInt64Array.from(values, (value) => BigInt(value)).buffer)

const vector = (name: string, values: ReadonlyArray<number>): Initializer => ({
  name,
  dtype: "i64",
  shape: [values.length],
  data: { kind: "inline", bytes: int64s(values) }
})

const node = (
  op: string,
  name: string,
  inputs: ReadonlyArray<string>,
  output: string,
  attributes: Node["attributes"]
): Node => ({
  op,
  domain: "",
  name,
  inputs,
  outputs: [output],
  attributes
})

/** What takes a weight's place: its tensors, the nodes that make f32 of them, and the value they give, `[rows × columns]`. */
const dequantized = (weight: PlacedWeight, { layout, location }: QuantizeOptions) => {
  const { bits, blocks, columns, name, padded, rows } = weight
  const zeros = layout.zeros.find((region) => region.bits === bits)?.offset ?? 0
  const dtype = bits === 4 ? "u4" : "u8"
  const external = (offset: number, length: number) => ({ kind: "external", location, offset, length }) as const
  const initializers: ReadonlyArray<Initializer> = [
    { name: `${name}.codes`, dtype, shape: [rows, padded], data: external(weight.codes.offset, weight.codes.length) },
    {
      name: `${name}.scales`,
      dtype: "f16",
      shape: [rows, blocks],
      data: external(weight.scales.offset, weight.scales.length)
    },
    { name: `${name}.zero_points`, dtype, shape: [rows, blocks], data: external(zeros, zeroBytes(bits, rows * blocks)) }
  ]
  const whole = `${name}.dequantized`
  const scales = `${name}.scales_f32`
  const nodes = [
    node("Cast", scales, [`${name}.scales`], scales, { to: int(1) }),
    node("DequantizeLinear", whole, [`${name}.codes`, scales, `${name}.zero_points`], whole, {
      axis: int(1),
      block_size: int(BLOCK)
    })
  ]
  if (padded === columns) return { initializers, nodes, value: whole }
  const value = `${name}.unpadded`
  const bounds = [vector(`${name}.from`, [0]), vector(`${name}.to`, [columns]), vector(`${name}.axis`, [1])]
  return {
    initializers: [...initializers, ...bounds],
    nodes: [...nodes, node("Slice", value, [whole, ...bounds.map((bound) => bound.name)], value, {})],
    value
  }
}

/**
 * Puts codes in the place of float weights: each Gemm(transB=1) over a weight of the layout reads
 * `DequantizeLinear(codes, Cast(scales), zero points; axis 1, blocks of 32)`, cut to the columns where they were padded.
 * Casts and weights that nothing reads any more are dropped; all else stays. Needs opset 21 (blocked DequantizeLinear).
 */
export const quantizeGraph = (graph: Graph, options: QuantizeOptions): Graph => {
  const weightOf = products(graph)
  const made = new Map(options.layout.weights.map((weight) => [weight.name, dequantized(weight, options)]))
  const placed = new Set<string>()
  const rewritten = graph.nodes.flatMap((old): ReadonlyArray<Node> => {
    const weight = weightOf.get(old)?.name ?? ""
    const replacement = made.get(weight)
    if (replacement === undefined) return [old]
    const gemm = { ...old, inputs: old.inputs.map((input, i) => i === 1 ? replacement.value : input) }
    if (placed.has(weight)) return [gemm]
    placed.add(weight)
    return [...replacement.nodes, gemm]
  })
  const outputs = graph.outputs.map(({ name }) => name)
  const read = (nodes: ReadonlyArray<Node>) => new Set([...outputs, ...nodes.flatMap(({ inputs }) => inputs)])
  const before = read(rewritten)
  const nodes = rewritten.filter(({ inputs: [input = ""], op, outputs: [output = ""] }) =>
    op !== "Cast" || !placed.has(input) || before.has(output)
  )
  const after = read(nodes)
  return {
    ...graph,
    nodes,
    initializers: [
      ...graph.initializers.filter(({ name }) => !placed.has(name) || after.has(name)),
      ...Array.from(placed).flatMap((weight) => made.get(weight)?.initializers ?? [])
    ]
  }
}
