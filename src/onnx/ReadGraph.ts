import type { Dim, Graph, Initializer, Node, Value } from "./Graph.ts"
import { readNode } from "./ReadNode.ts"
import { dtypeAt, readTensor, refuse } from "./ReadTensor.ts"
import { type Fields, type WireReader } from "./WireReader.ts"

const readDim = (reader: WireReader, bytes: Uint8Array, where: string): Dim => {
  let dim: Dim = ""
  reader.message(bytes, where, {
    1: (field) => dim = reader.int(field, where),
    2: (field) => dim = reader.string(field, where)
  })
  return dim
}

const readValue = (reader: WireReader, bytes: Uint8Array, where: string): Value => {
  let [name, code] = ["", 0]
  let shape: Array<Dim> | undefined
  const tensor: Fields = {
    1: (field) => code = reader.int(field, where),
    2: (field) => {
      const dims: Array<Dim> = []
      reader.message(reader.bytes(field, where), where, {
        1: (dim) => dims.push(readDim(reader, reader.bytes(dim, where), where))
      })
      shape = dims
    }
  }
  const notTensor = refuse(reader, "a value that is no dense tensor")
  reader.message(bytes, where, {
    1: (field) => name = reader.string(field, where),
    2: (field) =>
      reader.message(reader.bytes(field, where), where, {
        1: (inner) => reader.message(reader.bytes(inner, where), where, tensor),
        4: notTensor,
        5: notTensor,
        8: notTensor,
        9: notTensor
      })
  })
  if (shape === undefined) reader.fail(`${where} (${name})`, "a shape", "none")
  return { name, dtype: dtypeAt(reader, code, `${where} (${name})`), shape: shape ?? [] }
}

/** A GraphProto. */
export const readGraph = (reader: WireReader, bytes: Uint8Array): Omit<Graph, "opset" | "metadata"> => {
  let name = ""
  const nodes: Array<Node> = []
  const initializers: Array<Initializer> = []
  const inputs: Array<Value> = []
  const outputs: Array<Value> = []
  reader.message(bytes, "graph", {
    1: (field, where) => nodes.push(readNode(reader, reader.bytes(field, where), `graph.node[${nodes.length}]`)),
    2: (field) => name = reader.string(field, "graph.name"),
    5: (field, where) =>
      initializers.push(readTensor(reader, reader.bytes(field, where), `graph.initializer[${initializers.length}]`)),
    11: (field, where) => inputs.push(readValue(reader, reader.bytes(field, where), `graph.input[${inputs.length}]`)),
    12: (field, where) =>
      outputs.push(readValue(reader, reader.bytes(field, where), `graph.output[${outputs.length}]`)),
    15: refuse(reader, "a sparse initializer")
  })
  // Before IR 4 an initializer was listed among the inputs too; it is a constant all the same for us.
  const constants = new Set(initializers.map((initializer) => initializer.name))
  return { name, nodes, initializers, inputs: inputs.filter((value) => !constants.has(value.name)), outputs }
}
