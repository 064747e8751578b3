import { dtypes } from "../tensor/DType.ts"
import type { Attribute, Graph, Initializer, Node, Value } from "./Graph.ts"
import type { WireWriter } from "./WireWriter.ts"

/** `AttributeProto.AttributeType`. Source: onnx.proto, onnx 1.19. */
const attributeTypes = { float: 1, int: 2, string: 3, floats: 6, ints: 7 } as const satisfies Record<
  Attribute["kind"],
  number
>

/** Pairs in the order of their keys (by code unit), so that equal graphs have equal bytes. */
export const sorted = <A>(record: Readonly<Record<string, A>>): ReadonlyArray<readonly [string, A]> =>
  Object.entries(record).sort(([a], [b]) => a < b ? -1 : 1)

/** A StringStringEntryProto. */
export const writePair = (writer: WireWriter, field: number, key: string, value: string): void =>
  writer.message(field, () => {
    writer.string(1, key)
    writer.string(2, value)
  })

const writeAttribute = (writer: WireWriter, name: string, attribute: Attribute): void => {
  writer.string(1, name)
  switch (attribute.kind) {
    case "float":
      writer.float(2, attribute.value)
      break
    case "int":
      writer.int(3, attribute.value)
      break
    case "string":
      writer.string(4, attribute.value)
      break
    case "floats":
      for (const value of attribute.value) writer.float(7, value)
      break
    case "ints":
      writer.ints(8, attribute.value)
  }
  writer.int(20, attributeTypes[attribute.kind])
}

const writeNode = (writer: WireWriter, node: Node): void => {
  for (const name of node.inputs) writer.string(1, name)
  for (const name of node.outputs) writer.string(2, name)
  if (node.name !== "") writer.string(3, node.name)
  writer.string(4, node.op)
  for (const [name, attribute] of sorted(node.attributes)) {
    writer.message(5, () => writeAttribute(writer, name, attribute))
  }
  if (node.domain !== "") writer.string(7, node.domain)
}

const writeTensor = (writer: WireWriter, { data, dtype, name, shape }: Initializer): void => {
  writer.ints(1, shape)
  writer.int(2, dtypes[dtype].onnx)
  writer.string(8, name)
  if (data.kind === "inline") {
    writer.bytes(9, data.bytes)
    return
  }
  writePair(writer, 13, "location", data.location)
  writePair(writer, 13, "offset", String(data.offset))
  writePair(writer, 13, "length", String(data.length))
  writer.int(14, 1) // data_location = EXTERNAL
}

const writeValue = (writer: WireWriter, { dtype, name, shape }: Value): void => {
  writer.string(1, name)
  writer.message(2, () =>
    writer.message(1, () => {
      writer.int(1, dtypes[dtype].onnx)
      writer.message(2, () => {
        for (const dim of shape) {
          writer.message(1, () =>
            typeof dim === "number" ? writer.int(1, dim) : dim === "" ? undefined : writer.string(2, dim))
        }
      })
    }))
}

/** A GraphProto. */
export const writeGraph = (writer: WireWriter, graph: Graph): void => {
  for (const node of graph.nodes) writer.message(1, () => writeNode(writer, node))
  writer.string(2, graph.name)
  for (const initializer of graph.initializers) writer.message(5, () => writeTensor(writer, initializer))
  for (const value of graph.inputs) writer.message(11, () => writeValue(writer, value))
  for (const value of graph.outputs) writer.message(12, () => writeValue(writer, value))
}
