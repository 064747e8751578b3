import type { Attribute, Graph, Initializer, Node } from "../../onnx/Graph.ts"
import type { Pass } from "../../onnx/pass/Pass.ts"
import { zeroBytes } from "../../quantize/Blob.ts"
import { zeroNames } from "../../quantize/Quantizer.ts"

/**
 * Accuracy level of MatMulNBits: 4 rounds activations to int8 per block (fast), 1 keeps them float32.
 * Source: onnxruntime 1.30, docs/ContribOperators.md.
 */
export const FAST_ACCURACY = 4

/** Quantised weight of a matrix product, as `DequantizeLinear` reads it. */
interface Codes {
  readonly codes: Initializer
  /** value of the scales, f32 */
  readonly scales: string
  /** absent where it is the middle of the range, which MatMulNBits takes by itself */
  readonly zeroPoints: Initializer | undefined
  readonly bits: 4 | 8
  readonly block: number
  readonly rows: number
  readonly blocks: number
}

const int = (value: number): Attribute => ({ kind: "int", value })

const intOf = (node: Node, name: string): number | undefined => {
  const attribute = node.attributes[name]
  return attribute?.kind === "int" ? attribute.value : undefined
}

const isOne = (node: Node, name: string): boolean => {
  const attribute = node.attributes[name]
  return attribute === undefined || (attribute.kind === "float" && attribute.value === 1)
}

const isBlock = (size: number): boolean => size >= 16 && size <= 256 && Number.isInteger(Math.log2(size))

const codesOf = (node: Node | undefined, initializers: ReadonlyMap<string, Initializer>): Codes | undefined => {
  if (node === undefined || node.op !== "DequantizeLinear" || intOf(node, "axis") !== 1) return undefined
  const [name = "", scales = "", zero = ""] = node.inputs
  const codes = initializers.get(name)
  const zeroPoints = zero === "" ? undefined : initializers.get(zero)
  const block = intOf(node, "block_size") ?? 0
  const [rows = 0, padded = 0] = codes?.shape ?? []
  if (codes === undefined || (codes.dtype !== "u4" && codes.dtype !== "u8") || !isBlock(block)) return undefined
  // without zero points unsigned codes begin at 0, which MatMulNBits has no name for
  if (zeroPoints === undefined || padded % block !== 0) return undefined
  const bits = codes.dtype === "u4" ? 4 : 8
  const blocks = padded / block
  // The quantiser's names tell zero points that are the same throughout: the middle, or 0.
  const isMiddle = zeroPoints.name.endsWith(zeroNames.middle)
  const isNone = zeroPoints.name.endsWith(zeroNames.none)
  // MatMulNBits begins every row of zero points at a byte, DequantizeLinear does not; where all are 0 the layout has room for both
  if (!isMiddle && !isNone && (blocks * bits) % 8 !== 0) return undefined
  return { codes, scales, zeroPoints: isMiddle ? undefined : zeroPoints, bits, block, rows, blocks }
}

/** A weight's DequantizeLinear, behind the Slice that cuts a padded one; `columns` are those that the product reads. */
const weightOf = (
  value: string,
  makers: ReadonlyMap<string, Node>,
  initializers: ReadonlyMap<string, Initializer>
): (Codes & { readonly columns: number }) | undefined => {
  const maker = makers.get(value)
  if (maker?.op !== "Slice") {
    const codes = codesOf(maker, initializers)
    return codes === undefined ? undefined : { ...codes, columns: codes.blocks * codes.block }
  }
  const [whole = "", ...bounds] = maker.inputs
  const [from, to, axis] = bounds.map((name) => soleInt(initializers.get(name)))
  const codes = codesOf(makers.get(whole), initializers)
  if (codes === undefined || bounds.length !== 3 || from !== 0 || axis !== 1 || to === undefined) return undefined
  return to > (codes.blocks - 1) * codes.block && to <= codes.blocks * codes.block
    ? { ...codes, columns: to }
    : undefined
}

const soleInt = (initializer: Initializer | undefined): number | undefined => {
  if (initializer?.dtype !== "i64" || initializer.data.kind !== "inline" || initializer.data.bytes.length !== 8) {
    return undefined
  }
  const { buffer, byteOffset } = initializer.data.bytes
  return Number(new DataView(buffer, byteOffset).getBigInt64(0, true))
}

const asBytes = (name: string, { data }: Initializer, shape: ReadonlyArray<number>): Initializer => ({
  name,
  dtype: "u8",
  shape,
  data: data.kind === "external" ? { ...data, length: shape.reduce((a, b) => a * b, 1) } : data
})

/**
 * `DequantizeLinear(codes, scales, zero points) → Slice? → Gemm(transB=1)` becomes `MatMulNBits` over the same bytes: codes
 * `[rows × blocks × bytes]` u8, low nibble first. What nothing reads any more stays for dead-nodes.
 */
export const nbits = {
  name: "nbits",
  run: (graph: Graph): Graph => {
    const makers = new Map(graph.nodes.flatMap((node) => node.outputs.map((output) => [output, node] as const)))
    const initializers = new Map(graph.initializers.map((initializer) => [initializer.name, initializer]))
    const added = new Map<string, Initializer>()
    const add = (initializer: Initializer): string => {
      added.set(initializer.name, initializer)
      return initializer.name
    }
    const nodes = graph.nodes.map((node): Node => {
      const [x = "", value = "", bias = ""] = node.inputs
      if (node.op !== "Gemm" || intOf(node, "transB") !== 1 || (intOf(node, "transA") ?? 0) !== 0) return node
      if (!isOne(node, "alpha") || !isOne(node, "beta")) return node
      const weight = weightOf(value, makers, initializers)
      if (weight === undefined) return node
      const { bits, block, blocks, codes, columns, rows, scales, zeroPoints } = weight
      const inputs = [
        x,
        add(asBytes(`${codes.name}.bytes`, codes, [rows, blocks, block * bits / 8])),
        scales,
        zeroPoints === undefined
          ? ""
          : add(asBytes(`${zeroPoints.name}.bytes`, zeroPoints, [zeroBytes(bits, rows, blocks)])),
        "",
        bias
      ]
      while (inputs.at(-1) === "") inputs.pop()
      return {
        op: "MatMulNBits",
        domain: "com.microsoft",
        name: node.name,
        inputs,
        outputs: node.outputs,
        attributes: {
          K: int(columns),
          N: int(rows),
          accuracy_level: int(FAST_ACCURACY),
          bits: int(bits),
          block_size: int(block)
        }
      }
    })
    return { ...graph, nodes, initializers: [...graph.initializers, ...added.values()] }
  }
} as const satisfies Pass

/** The graph with this accuracy level in every MatMulNBits. */
export const withAccuracy = (graph: Graph, level: number): Graph => ({
  ...graph,
  nodes: graph.nodes.map((node) =>
    node.op === "MatMulNBits"
      ? { ...node, attributes: { ...node.attributes, accuracy_level: int(level) } }
      : node
  )
})
