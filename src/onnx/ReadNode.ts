import type { Attribute, Node } from "./Graph.ts"
import { refuse } from "./ReadTensor.ts"
import { type Fields, viewOf, type WireReader } from "./WireReader.ts"

/** Field names and codes of `AttributeProto.AttributeType` that Graph has; 0 is a file older than the type field. */
const kinds: Readonly<Record<number, Attribute["kind"]>> = { 1: "float", 2: "int", 3: "string", 6: "floats", 7: "ints" }

const readAttribute = (reader: WireReader, bytes: Uint8Array, where: string): readonly [string, Attribute] => {
  let name = ""
  let type = 0
  let single: Attribute | undefined
  const floats: Array<number> = []
  const ints: Array<number> = []
  const table: Fields = {
    1: (field) => name = reader.string(field, `${where} name`),
    2: (field) => single = { kind: "float", value: reader.float(field, where) },
    3: (field) => single = { kind: "int", value: reader.int(field, where) },
    4: (field) => single = { kind: "string", value: reader.string(field, where) },
    5: refuse(reader, "a tensor attribute"),
    6: refuse(reader, "a subgraph"),
    7: (field) => {
      const view = viewOf(reader.fixed(field, where, 4))
      for (let at = 0; at + 4 <= view.byteLength; at += 4) floats.push(view.getFloat32(at, true))
    },
    8: (field) => {
      for (const value of reader.bigints(field, where)) {
        if (!Number.isSafeInteger(Number(value))) return reader.fail(where, "whole numbers below 2^53", `${value}`)
        ints.push(Number(value))
      }
    },
    9: refuse(reader, "an attribute of several strings"),
    10: refuse(reader, "a tensor attribute"),
    11: refuse(reader, "a subgraph"),
    14: refuse(reader, "a type attribute"),
    15: refuse(reader, "a type attribute"),
    20: (field) => type = reader.int(field, `${where} type`),
    21: (field) =>
      reader.string(field, where) === ""
        ? undefined
        : refuse(reader, "a reference to a function's attribute")(field, where),
    22: refuse(reader, "a sparse tensor attribute"),
    23: refuse(reader, "a sparse tensor attribute")
  }
  reader.message(bytes, where, table)
  const list: Attribute | undefined = ints.length > 0 || type === 7
    ? { kind: "ints", value: ints }
    : floats.length > 0 || type === 6
    ? { kind: "floats", value: floats }
    : undefined
  const zero: Attribute | undefined = type === 1
    ? { kind: "float", value: 0 }
    : type === 2
    ? { kind: "int", value: 0 }
    : undefined
  const attribute = list ?? single ?? zero ?? (type === 3 ? { kind: "string" as const, value: "" } : undefined)
  if (attribute === undefined || (type !== 0 && kinds[type] !== attribute.kind)) {
    reader.fail(
      `${where} (${name})`,
      "an int, float, string, ints or floats",
      `type ${type} with ${attribute?.kind ?? "no value"}`
    )
  }
  return [name, attribute ?? { kind: "int", value: 0 }]
}

/** A NodeProto of ai.onnx or com.microsoft. */
export const readNode = (reader: WireReader, bytes: Uint8Array, where: string): Node => {
  const [inputs, outputs]: [Array<string>, Array<string>] = [[], []]
  const attributes: Array<readonly [string, Attribute]> = []
  let [name, op, domain] = ["", "", ""]
  reader.message(bytes, where, {
    1: (field) => inputs.push(reader.string(field, `${where} input`)),
    2: (field) => outputs.push(reader.string(field, `${where} output`)),
    3: (field) => name = reader.string(field, `${where} name`),
    4: (field) => op = reader.string(field, `${where} op_type`),
    5: (field) =>
      attributes.push(
        readAttribute(reader, reader.bytes(field, where), `${where} ${op} attribute[${attributes.length}]`)
      ),
    7: (field) => domain = reader.string(field, `${where} domain`)
  })
  if (new Set(attributes.map(([key]) => key)).size !== attributes.length) {
    reader.fail(where, "attributes of different names", "a name twice")
  }
  const known = domain === "" || domain === "ai.onnx" ? "" as const : domain === "com.microsoft" ? domain : undefined
  if (known === undefined) reader.fail(`${where} (${name})`, "domain ai.onnx or com.microsoft", `${domain}.${op}`)
  return { op, domain: known ?? "", name, inputs, outputs, attributes: Object.fromEntries(attributes) }
}
