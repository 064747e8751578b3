import type { DType } from "../tensor/DType.ts"

/** A dimension: a number, or a name where it is known only when the graph runs (`tokens`, `context`). */
export type Dim = number | string

/** A typed value that enters or leaves a graph. */
export interface Value {
  readonly name: string
  readonly dtype: DType
  readonly shape: ReadonlyArray<Dim>
}

/** The value of a node's attribute. Integers are safe integers. */
export type Attribute =
  | { readonly kind: "int"; readonly value: number }
  | { readonly kind: "float"; readonly value: number }
  | { readonly kind: "string"; readonly value: string }
  | { readonly kind: "ints"; readonly value: ReadonlyArray<number> }
  | { readonly kind: "floats"; readonly value: ReadonlyArray<number> }

/** One operation. `domain` "" is ai.onnx; an input "" is an absent optional input. */
export interface Node {
  readonly op: string
  readonly domain: "" | "com.microsoft"
  readonly name: string
  readonly inputs: ReadonlyArray<string>
  readonly outputs: ReadonlyArray<string>
  readonly attributes: Readonly<Record<string, Attribute>>
}

/** Where an initialiser's little-endian bytes are: here, or in a file named relative to the graph's own file. */
export type Data =
  | { readonly kind: "inline"; readonly bytes: Uint8Array }
  | { readonly kind: "external"; readonly location: string; readonly offset: number; readonly length: number }

/** A constant tensor. `source` in `Graph.metadata` style facts do not belong here: the name says which weight it is. */
export interface Initializer {
  readonly name: string
  readonly dtype: DType
  readonly shape: ReadonlyArray<number>
  readonly data: Data
}

/** An immutable ONNX graph; nodes in topological order. */
export interface Graph {
  readonly name: string
  /** version of ai.onnx; com.microsoft 1 is imported when a node uses it */
  readonly opset: number
  readonly inputs: ReadonlyArray<Value>
  readonly outputs: ReadonlyArray<Value>
  readonly nodes: ReadonlyArray<Node>
  readonly initializers: ReadonlyArray<Initializer>
  /** `metadata_props` of the model, kept in key order */
  readonly metadata: Readonly<Record<string, string>>
}
