import { byteLength } from "../tensor/DType.ts"
import type { Dim, Graph, Initializer, Node } from "./Graph.ts"

/** Something in a graph that must not be so. */
export interface Problem {
  /** node, value or initialiser it is about */
  readonly at: string
  readonly expected: string
  readonly found: string
}

/** What `check` may let pass. */
export interface CheckOptions {
  /** onnxruntime's MatMulNBits: after the host target's lowering */
  readonly matMulNBits?: boolean
}

/** Bytes of all inline initialisers: weights belong in external files (design, section 3: graphs of at most 100 KB). */
export const inlineLimit = 100 * 1024

/** Operators of ai.onnx that graphs may use. Source: onnx/docs/Operators.md, opset 23, those without subgraphs or sequences. */
const standard = new Set(
  ("Abs Add And ArgMax ArgMin Attention AveragePool BitShift BitwiseAnd BitwiseNot BitwiseOr BitwiseXor Cast CastLike Ceil Clip Concat " +
    "Constant ConstantOfShape Conv ConvTranspose Cos CumSum DepthToSpace DequantizeLinear Div Einsum Elu Equal Erf Exp Expand EyeLike " +
    "Flatten Floor GRU Gather GatherElements GatherND Gelu Gemm GlobalAveragePool Greater GreaterOrEqual GridSample GroupNormalization " +
    "HardSigmoid HardSwish Identity InstanceNormalization IsInf IsNaN LSTM LayerNormalization LeakyRelu Less LessOrEqual Log LogSoftmax " +
    "LpNormalization MatMul Max MaxPool Mean Min Mish Mod Mul Neg NonZero Not OneHot Or PRelu Pad Pow QLinearMatMul QuantizeLinear " +
    "RMSNormalization Range Reciprocal ReduceL2 ReduceMax ReduceMean ReduceMin ReduceProd ReduceSum ReduceSumSquare Relu Reshape Resize " +
    "RotaryEmbedding Round ScatterElements ScatterND Selu Shape Sigmoid Sign Sin Size Slice Softmax Softplus Softsign SpaceToDepth Split " +
    "Sqrt Squeeze Sub Sum Swish Tan Tanh TensorScatter ThresholdedRelu Tile TopK Transpose Trilu Unsqueeze Where Xor")
    .split(" ")
)

/** Why a location may not be used; undefined for a plain path below the graph's own folder. */
const locationFault = (location: string): string | undefined =>
  location === ""
    ? "nothing"
    : location.startsWith("/") || /^[A-Za-z]:/.test(location)
    ? "an absolute path"
    : location.includes("\\") || location.includes("\0")
    ? "a character that is not plain"
    : location.split("/").some((part) => part === "" || part === "." || part === "..")
    ? "an empty part, . or .."
    : undefined

const dimFault = (dim: Dim): boolean => typeof dim === "string" ? dim === "" : !(Number.isSafeInteger(dim) && dim > 0)

const dataProblems = ({ data, dtype, name, shape }: Initializer): ReadonlyArray<Problem> => {
  const expected = byteLength(dtype, shape.reduce((all, dim) => all * dim, 1))
  const found = data.kind === "inline" ? data.bytes.length : data.length
  const size = found === expected
    ? []
    : [{ at: name, expected: `${expected} bytes (${dtype} [${shape.join(", ")}])`, found: `${found}` }]
  if (data.kind === "inline") return size
  const fault = locationFault(data.location)
  const range = [data.offset, data.length].every((value) => Number.isSafeInteger(value) && value >= 0)
  return [
    ...size,
    ...(fault === undefined
      ? []
      : [{ at: name, expected: "a relative location inside the folder", found: `${fault}: "${data.location}"` }]),
    ...(range
      ? []
      : [{ at: name, expected: "offset and length of 0 and more", found: `${data.offset}, ${data.length}` }])
  ]
}

/** A node's name; its operator and output where it has none. */
const titleOf = ({ name, op, outputs }: Node): string => name === "" ? `${op} of ${outputs[0] ?? "nothing"}` : name

const operatorProblems = (node: Node, { matMulNBits = false }: CheckOptions): ReadonlyArray<Problem> =>
  (node.domain === "" ? standard.has(node.op) : matMulNBits && node.op === "MatMulNBits")
    ? []
    : [{
      at: titleOf(node),
      expected: matMulNBits ? "a standard operator or MatMulNBits" : "a standard operator",
      found: node.domain === "" ? node.op : `${node.domain}.${node.op}`
    }]

/**
 * What must hold of every graph: each value has one name and one origin, is made before it is used, outputs and operators exist,
 * every initialiser is read and its bytes are in place. Empty when all is well.
 */
export const check = (graph: Graph, options: CheckOptions = {}): ReadonlyArray<Problem> => {
  const problems: Array<Problem> = []
  const defined = new Set<string>()
  const used = new Set<string>()
  const define = (name: string, what: string) => {
    if (name === "") problems.push({ at: graph.name, expected: `a name for ${what}`, found: "none" })
    else if (defined.has(name)) problems.push({ at: name, expected: "one origin", found: `${what} again` })
    defined.add(name)
  }
  for (const { name } of graph.inputs) define(name, "an input")
  for (const { name } of graph.initializers) define(name, "an initialiser")
  for (const node of graph.nodes) {
    problems.push(...operatorProblems(node, options))
    for (const name of node.inputs) {
      if (name === "") continue
      used.add(name)
      if (!defined.has(name)) {
        problems.push({ at: titleOf(node), expected: "inputs that are defined before", found: name })
      }
    }
    if (node.outputs.length === 0) problems.push({ at: titleOf(node), expected: "an output", found: "none" })
    for (const name of node.outputs) {
      if (name !== "") define(name, `an output of ${titleOf(node)}`)
    }
  }
  if (graph.outputs.length === 0) problems.push({ at: graph.name, expected: "an output", found: "none" })
  const outputs = new Set<string>()
  for (const { name } of graph.outputs) {
    if (!defined.has(name)) problems.push({ at: name, expected: "an origin for the output", found: "none" })
    if (outputs.has(name)) problems.push({ at: name, expected: "outputs of different names", found: "the name again" })
    outputs.add(name)
  }
  for (const { name, shape } of [...graph.inputs, ...graph.outputs, ...graph.initializers]) {
    if (shape.some(dimFault)) {
      problems.push({
        at: name,
        expected: "dimensions that have a name or are above 0",
        found: `[${shape.join(", ")}]`
      })
    }
  }
  for (const initializer of graph.initializers) {
    problems.push(...dataProblems(initializer))
    if (!used.has(initializer.name) && !outputs.has(initializer.name)) {
      problems.push({ at: initializer.name, expected: "a node that reads the initialiser", found: "none" })
    }
  }
  const inline = graph.initializers.reduce((sum, { data }) => sum + (data.kind === "inline" ? data.bytes.length : 0), 0)
  if (inline > inlineLimit) {
    problems.push({ at: graph.name, expected: `at most ${inlineLimit} bytes inside the file`, found: `${inline}` })
  }
  return problems
}
