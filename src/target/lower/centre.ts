import type { Attribute, Graph, Initializer, Node } from "../../onnx/Graph.ts"
import type { Pass } from "../../onnx/pass/Pass.ts"
import { zeroNames } from "../../quantize/Quantizer.ts"
import { plainNode } from "./Nodes.ts"

const intOf = ({ attributes }: Node, name: string): number => {
  const attribute: Attribute | undefined = attributes[name]
  return attribute?.kind === "int" ? attribute.value : 0
}

const scalar = (value: number): Initializer => ({
  name: `middle_${value}`,
  dtype: "f32",
  shape: [],
  data: { kind: "inline", bytes: new Uint8Array(Float32Array.of(value).buffer) }
})

/**
 * `d · q + m` becomes `d · (q − middle) + (m + middle · d)`: MatMulNBits with zero points of 0 has no fast kernel, with those in the
 * middle of the range it has. `m + middle · d` is computed once, in float32, when the graph is loaded; the weights stay as they are.
 */
export const centre = {
  name: "centre",
  run: (graph: Graph): Graph => {
    const makers = new Map(graph.nodes.flatMap((node) => node.outputs.map((output) => [output, node] as const)))
    const centred = new Map<Node, Node>()
    const added: Array<Initializer> = []
    const nodes = graph.nodes.flatMap((node): ReadonlyArray<Node> => {
      const [sums = "", minimum = "", product = ""] = node.inputs
      const made = makers.get(product)
      const [x = "", codes = "", scales = "", zeros = "", ...rest] = made?.inputs ?? []
      const isSum = node.op === "Gemm" && intOf(node, "transB") === 1 && made?.op === "MatMulNBits"
      if (!isSum || made === undefined || !zeros.includes(zeroNames.none)) return [node]
      const middle = scalar(intOf(made, "bits") === 4 ? 8 : 128)
      added.push(middle)
      const inputs = [x, codes, scales, "", ...rest]
      while (inputs.at(-1) === "") inputs.pop()
      centred.set(made, { ...made, inputs })
      const [shift, whole] = [`${minimum}.shift`, `${minimum}.centred`]
      return [
        plainNode("Mul", shift, [scales, middle.name]),
        plainNode("Add", whole, [minimum, shift]),
        { ...node, inputs: [sums, whole, product] }
      ]
    })
    return {
      ...graph,
      nodes: nodes.map((node) => centred.get(node) ?? node),
      initializers: [...graph.initializers, ...new Map(added.map((one) => [one.name, one])).values()]
    }
  }
} as const satisfies Pass
