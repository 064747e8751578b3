import type { Attribute, Graph, Initializer, Node } from "../onnx/Graph.ts"
import { byteLength, type DType } from "../tensor/DType.ts"
import type { BlobLayout, PlacedWeight, Region } from "./Blob.ts"
import { products } from "./Linear.ts"

/** Where the codes are, and how. */
export interface QuantizeOptions {
  /** the blob, relative to the graph's own file */
  readonly location: string
  readonly layout: BlobLayout
}

/** Endings of the names of zero points, by what they are: a target may know a form without reading numbers. */
export const zeroNames = { middle: ".zero_points", none: ".zero_points_none", stored: ".zero_points_stored" } as const

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
  attributes: Node["attributes"] = {}
): Node => ({ op, domain: "", name, inputs, outputs: [name], attributes })

/** What stands around a product whose weight became codes. */
interface Replacement {
  readonly initializers: ReadonlyArray<Initializer>
  /** nodes that make f32 of the codes, once for all products of the weight */
  readonly nodes: ReadonlyArray<Node>
  /** the value that they give, `[rows × columns]` */
  readonly value: string
  readonly weight: PlacedWeight
}

/** What takes a weight's place. */
const dequantized = (weight: PlacedWeight, { layout, location }: QuantizeOptions): Replacement => {
  const { blocks, codes, columns, form, minimum, name, order, padded, rows, scales, zeros } = weight
  const shared = layout.zeros.find((region) => region.bits === form.bits && region.zeros === form.zeros)
  const dtype = form.bits === 4 ? "u4" : "u8"
  const at = (suffix: string, dtype: DType, shape: ReadonlyArray<number>, region: Region): Initializer => ({
    name: `${name}${suffix}`,
    dtype,
    shape,
    data: { kind: "external", location, offset: region.offset, length: region.length }
  })
  const points = zeros ?? { offset: shared?.offset ?? 0, length: byteLength(dtype, rows * blocks) }
  const pointsName = `${name}${zeroNames[form.zeros]}`
  const initializers = [
    at(".codes", dtype, [rows, padded], codes),
    at(".scales", form.scales, [rows, blocks], scales),
    at(zeroNames[form.zeros], dtype, [rows, blocks], points),
    ...minimum === undefined ? [] : [at(".minimum", "f32", [rows, blocks], minimum)],
    ...order === undefined ? [] : [at(".order", "i32", [columns], order)]
  ]
  const scalesValue = form.scales === "f32" ? `${name}.scales` : `${name}.scales_f32`
  const whole = node("DequantizeLinear", `${name}.dequantized`, [`${name}.codes`, scalesValue, pointsName], {
    axis: int(1),
    block_size: int(form.block)
  })
  const nodes = [
    ...form.scales === "f32" ? [] : [node("Cast", scalesValue, [`${name}.scales`], { to: int(1) })],
    whole
  ]
  if (padded === columns) return { initializers, nodes, value: whole.name, weight }
  const bounds = [vector(`${name}.from`, [0]), vector(`${name}.to`, [columns]), vector(`${name}.axis`, [1])]
  const cut = node("Slice", `${name}.unpadded`, [whole.name, ...bounds.map((bound) => bound.name)])
  return { initializers: [...initializers, ...bounds], nodes: [...nodes, cut], value: cut.name, weight }
}

/** Nodes and constants that are made once, whoever asks first. */
class Made {
  readonly initializers = new Map<string, Initializer>()
  readonly #names = new Set<string>()

  /** The nodes that were not made before. */
  fresh(nodes: ReadonlyArray<Node>): ReadonlyArray<Node> {
    return nodes.filter(({ name }) => {
      const known = this.#names.has(name)
      this.#names.add(name)
      return !known
    })
  }

  constant(initializer: Initializer): string {
    this.initializers.set(initializer.name, initializer)
    return initializer.name
  }
}

/** Sums of x over each block of columns, `[tokens × blocks]`, zeros behind the last column where it is padded. */
const blockSums = (made: Made, x: string, { blocks, columns, form, padded }: PlacedWeight) => {
  const whole = `${x}.padded_${padded}`
  const cut = `${x}.blocks_of_${form.block}`
  const sums = `${x}.sums_of_${form.block}`
  const pads = padded === columns
    ? []
    : [node("Pad", whole, [x, made.constant(vector(`pads_${padded - columns}`, [0, 0, 0, padded - columns]))])]
  const shape = made.constant(vector(`blocks_${blocks}_${form.block}`, [0, blocks, form.block]))
  const axes = made.constant(vector("block_axis", [2]))
  const nodes = [
    ...pads,
    node("Reshape", cut, [padded === columns ? x : whole, shape]),
    node("ReduceSum", sums, [cut, axes], { keepdims: int(0) })
  ]
  return { nodes, sums }
}

/** A product and what it needs, its weight replaced. */
const product = (made: Made, old: Node, { nodes, value, weight }: Replacement): ReadonlyArray<Node> => {
  const [given = "", , bias] = old.inputs
  const order = weight.form.ordered
    ? [node("Gather", `${weight.name}.x`, [given, `${weight.name}.order`], { axis: int(1) })]
    : []
  const x = order[0]?.name ?? given
  const before = [...made.fresh(nodes), ...order]
  const gemm = {
    ...old,
    inputs: [x, value, ...bias === undefined ? [] : [bias]],
    attributes: { ...old.attributes, transB: int(1) }
  }
  if (!weight.form.minimum) return [...before, gemm]
  const { nodes: sumNodes, sums } = blockSums(made, x, weight)
  const codes = `${old.outputs[0] ?? ""}.codes`
  return [
    ...before,
    ...made.fresh(sumNodes),
    { ...gemm, outputs: [codes] },
    {
      ...node("Gemm", `${old.name}.minimum`, [sums, `${weight.name}.minimum`, codes], { transB: int(1) }),
      outputs: old.outputs
    }
  ]
}

/** The initialiser with its plain numbers in the blob. */
const moved = (initializer: Initializer, { layout, location }: QuantizeOptions): Initializer => {
  const numbers = layout.numbers.find(({ name }) => name === initializer.name)
  return numbers === undefined
    ? initializer
    : { ...initializer, data: { kind: "external", location, ...numbers.region } }
}

/**
 * Puts codes in the place of float weights: each Gemm over a weight of the layout reads
 * `DequantizeLinear(codes, scales as f32, zero points; axis 1)`, cut to the columns where they were padded; with a minimum,
 * `Gemm(sums of x over blocks, minimum)` is added; with an order, x is gathered by it. Tensors that the layout holds as plain
 * numbers are read from the blob. Casts and weights that nothing reads any more are dropped; all else stays. Needs opset 21
 * (blocked DequantizeLinear).
 */
export const quantizeGraph = (graph: Graph, options: QuantizeOptions): Graph => {
  const weightOf = products(graph)
  const replacements = new Map(
    options.layout.weights.map((weight) => [weight.name, dequantized(weight, options)] as const)
  )
  const made = new Made()
  const placed = new Set<string>()
  const rewritten = graph.nodes.flatMap((old): ReadonlyArray<Node> => {
    const weight = weightOf.get(old)?.name ?? ""
    const replacement = replacements.get(weight)
    if (replacement === undefined) return [old]
    placed.add(weight)
    return product(made, old, replacement)
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
      ...graph.initializers
        .filter(({ name }) => !placed.has(name) || after.has(name))
        .map((initializer) => moved(initializer, options)),
      ...Array.from(placed).flatMap((weight) => replacements.get(weight)?.initializers ?? []),
      ...made.initializers.values()
    ]
  }
}
