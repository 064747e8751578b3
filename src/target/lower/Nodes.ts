import type { Initializer, Node } from "../../onnx/Graph.ts"
import { bytesOf } from "../../onnx/Numbers.ts"

/** A node of a standard operator, named as its one output is. */
export const plainNode = (op: string, name: string, inputs: ReadonlyArray<string>): Node => ({
  op,
  domain: "",
  name,
  inputs,
  outputs: [name],
  attributes: {}
})

/** An i64 vector that stands in the graph itself. */
export const vector = (name: string, values: ReadonlyArray<number>): Initializer => ({
  name,
  dtype: "i64",
  shape: [values.length],
  data: { kind: "inline", bytes: bytesOf("i64", values) }
})
