import type { DType } from "../../tensor/DType.ts"
import { broadcast } from "../Dims.ts"
import type { Dim } from "../Graph.ts"
import { axisOf, broken, constant, dtypeOf, input, int, type Rule, show } from "./Rule.ts"

export const same: Rule = (call) => {
  const { dtype, shape } = input(call, 0)
  return Array.from({ length: call.outputs }, () => ({ dtype, shape }))
}
export const broadcasting = (from: number, dtype?: DType): Rule => (call) => {
  const present = call.inputs.flatMap((value) => value === undefined ? [] : [value])
  const operands = present.slice(from)
  const first = operands[0] ?? broken(call.op, "has no input")
  if (operands.some((other) => other.dtype !== first.dtype)) {
    broken(call.op, `dtypes differ: ${operands.map(show).join(", ")}`)
  }
  const shape = broadcast(present.map((value) => value.shape)) ??
    broken(call.op, `cannot broadcast ${present.map(show).join(", ")}`)
  return [{ dtype: dtype ?? first.dtype, shape }]
}
export const normalized: Rule = (call) => {
  const x = input(call, 0)
  const axis = axisOf(call, int(call, "axis", -1), x.shape.length)
  for (const other of call.inputs.slice(1)) {
    if (other === undefined) continue
    if (other.dtype !== x.dtype) broken(call.op, `scale is ${show(other)}, x is ${show(x)}`)
    const shape = broadcast([other.shape, x.shape.slice(axis)])
    if (shape === undefined || shape.length !== x.shape.length - axis) {
      broken(call.op, `scale is ${show(other)}, x is ${show(x)}`)
    }
  }
  return [{ dtype: x.dtype, shape: x.shape }]
}
export const reduce = (dtype: DType | undefined, fromAttribute: boolean): Rule => (call) => {
  const x = input(call, 0)
  const rank = x.shape.length
  const given = fromAttribute
    ? [int(call, "axis", 0)]
    : call.inputs[1] === undefined
    ? x.shape.map((_, at) => at)
    : constant(call, 1)
  const axes = new Set(given.map((axis) => axisOf(call, axis, rank)))
  const kept = int(call, "keepdims", 1) === 1
  const shape = x.shape.flatMap((dim, at): ReadonlyArray<Dim> => axes.has(at) ? (kept ? [1] : []) : [dim])
  return [{ dtype: dtype ?? x.dtype, shape }]
}

export const cast: Rule = (call) => [{ dtype: dtypeOf(call, int(call, "to", 0)), shape: input(call, 0).shape }]
