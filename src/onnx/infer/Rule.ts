import { type DType, dtypes } from "../../tensor/DType.ts"
import type { Attribute, Dim } from "../Graph.ts"

/** dtype and shape of a value, and its numbers where it is a small constant (axes, sizes, a target shape). */
export interface Typed {
  readonly dtype: DType
  readonly shape: ReadonlyArray<Dim>
  readonly values?: ReadonlyArray<number> | undefined
}

/** What a rule sees of a node. */
export interface Call {
  readonly op: string
  readonly inputs: ReadonlyArray<Typed | undefined>
  readonly attributes: Readonly<Record<string, Attribute>>
  readonly outputs: number
}

export type Rule = (call: Call) => ReadonlyArray<Typed>

export const broken = (op: string, why: string): never => {
  throw new Error(`${op}: ${why}`)
}
export const show = (typed: Typed): string => `${typed.dtype} [${typed.shape.join(", ")}]`

export const input = ({ inputs, op }: Call, at: number): Typed => inputs[at] ?? broken(op, `input ${at} is missing`)
export const int = ({ attributes }: Call, name: string, otherwise: number): number => {
  const attribute = attributes[name]
  return attribute?.kind === "int" ? attribute.value : otherwise
}
export const ints = ({ attributes }: Call, name: string): ReadonlyArray<number> | undefined => {
  const attribute = attributes[name]
  return attribute?.kind === "ints" ? attribute.value : undefined
}
export const constant = (call: Call, at: number): ReadonlyArray<number> =>
  input(call, at).values ?? broken(call.op, `input ${at} must be a small constant`)
export const axisOf = ({ op }: Call, axis: number, rank: number): number => {
  const at = axis < 0 ? axis + rank : axis
  return Number.isInteger(at) && at >= 0 && at < rank ? at : broken(op, `axis ${axis} is outside rank ${rank}`)
}
export const dtypeOf = ({ op }: Call, onnx: number): DType => {
  for (const [name, dtype] of Object.entries(dtypes)) {
    if (dtype.onnx === onnx && isDType(name)) return name
  }
  return broken(op, `data type ${onnx} is unknown`)
}
export const isDType = (name: string): name is DType => Object.hasOwn(dtypes, name)
