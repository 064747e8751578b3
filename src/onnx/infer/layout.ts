import { broadcast, productOf, quotientOf, sumOf } from "../Dims.ts"
import type { Dim } from "../Graph.ts"
import { axisOf, broken, constant, input, int, ints, type Rule, show } from "./Rule.ts"

export const transpose: Rule = (call) => {
  const { dtype, shape } = input(call, 0)
  const order = ints(call, "perm") ?? shape.map((_, at) => shape.length - 1 - at)
  return [{
    dtype,
    shape: order.map((at) => shape[at] ?? broken(call.op, `perm [${order.join(", ")}] is not of rank ${shape.length}`))
  }]
}

export const reshape: Rule = (call) => {
  const x = input(call, 0)
  const asked = constant(call, 1)
  const keepZero = int(call, "allowzero", 0) === 1
  const dims = asked.map((dim, at): Dim =>
    dim === 0 && !keepZero ? x.shape[at] ?? broken(call.op, `0 at ${at} has no dimension to copy`) : dim
  )
  const open = dims.indexOf(-1)
  const rest = dims.filter((_, at) => at !== open)
  const whole = quotientOf(x.shape, open < 0 ? dims : rest)
  if (whole === undefined || (open < 0 && whole !== 1)) {
    return broken(call.op, `cannot make [${asked.join(", ")}] of ${show(x)}`)
  }
  return [{ dtype: x.dtype, shape: dims.map((dim, at) => at === open ? whole : dim) }]
}

export const squeeze: Rule = (call) => {
  const { dtype, shape } = input(call, 0)
  const axes = new Set(constant(call, 1).map((axis) => axisOf(call, axis, shape.length)))
  for (const axis of axes) {
    if (shape[axis] !== 1) broken(call.op, `dimension ${axis} is ${shape[axis]}, not 1`)
  }
  return [{ dtype, shape: shape.filter((_, at) => !axes.has(at)) }]
}

export const unsqueeze: Rule = (call) => {
  const { dtype, shape } = input(call, 0)
  const asked = constant(call, 1)
  const rank = shape.length + asked.length
  const axes = new Set(asked.map((axis) => axisOf(call, axis, rank)))
  let from = 0
  return [{ dtype, shape: Array.from({ length: rank }, (_, at): Dim => axes.has(at) ? 1 : shape[from++] ?? 1) }]
}

export const concat: Rule = (call) => {
  const all = call.inputs.map((_, at) => input(call, at))
  const first = input(call, 0)
  const axis = axisOf(call, int(call, "axis", 0), first.shape.length)
  for (const other of all) {
    if (
      other.dtype !== first.dtype || other.shape.length !== first.shape.length ||
      other.shape.some((dim, at) => at !== axis && dim !== first.shape[at])
    ) {
      broken(call.op, `cannot join ${all.map(show).join(", ")} along ${axis}`)
    }
  }
  return [{
    dtype: first.dtype,
    shape: first.shape.map((dim, at) => at === axis ? sumOf(all.map(({ shape }) => shape[axis] ?? 0)) : dim)
  }]
}

/** Sizes that the graph computes give dimensions named `piece_<at>`. */
export const split: Rule = (call) => {
  const x = input(call, 0)
  const axis = axisOf(call, int(call, "axis", 0), x.shape.length)
  const whole = x.shape[axis]
  const isComputed = call.inputs[1] !== undefined && call.inputs[1].values === undefined
  const sizes: ReadonlyArray<Dim> = isComputed
    ? Array.from({ length: call.outputs }, (_, at) => `piece_${at}`)
    : call.inputs[1] === undefined
    ? Array.from(
      { length: call.outputs },
      () => quotientOf([whole ?? 0], [call.outputs]) ?? broken(call.op, `cannot split ${show(x)} in ${call.outputs}`)
    )
    : constant(call, 1)
  if (
    sizes.length !== call.outputs ||
    (call.inputs[1] !== undefined && !isComputed && typeof whole === "number" && sumOf(sizes) !== whole)
  ) {
    broken(call.op, `sizes [${sizes.join(", ")}] do not cut ${show(x)} along ${axis} in ${call.outputs}`)
  }
  return sizes.map((size) => ({ dtype: x.dtype, shape: x.shape.map((dim, at) => at === axis ? size : dim) }))
}

export const gather: Rule = (call) => {
  const [data, indices] = [input(call, 0), input(call, 1)]
  const axis = axisOf(call, int(call, "axis", 0), data.shape.length)
  return [{ dtype: data.dtype, shape: [...data.shape.slice(0, axis), ...indices.shape, ...data.shape.slice(axis + 1)] }]
}

export const slice: Rule = (call) => {
  const { dtype, shape } = input(call, 0)
  const [starts, ends] = [constant(call, 1), constant(call, 2)]
  const axes = call.inputs[3] === undefined ? starts.map((_, at) => at) : constant(call, 3)
  const steps = call.inputs[4] === undefined ? starts.map(() => 1) : constant(call, 4)
  const dims = [...shape]
  axes.forEach((asked, at) => {
    const axis = axisOf(call, asked, shape.length)
    const [dim, start = 0, end = 0, step = 1] = [shape[axis], starts[at], ends[at], steps[at]]
    if (typeof dim === "number" && step > 0) {
      const inside = (value: number) => Math.min(Math.max(value < 0 ? value + dim : value, 0), dim)
      dims[axis] = Math.max(0, Math.ceil((inside(end) - inside(start)) / step))
    } else if (dim !== undefined && step === 1 && start >= 0 && (end < 0 || end >= 2 ** 31 - 1)) {
      // rows that are cut off at the ends are taken to be there
      dims[axis] = sumOf([dim, Math.min(end, 0) - start])
    } else {
      broken(call.op, `length of [${start}, ${end}) of dimension ${dim} is unknown; name the output's type`)
    }
  })
  return [{ dtype, shape: dims }]
}

/** A number that the graph computes is that of all along the axis: they are put in order. */
export const topK: Rule = (call) => {
  const { dtype, shape } = input(call, 0)
  const axis = axisOf(call, int(call, "axis", -1), shape.length)
  const k = input(call, 1).values?.[0] ?? shape[axis] ?? 0
  const found = shape.map((dim, at) => at === axis ? k : dim)
  return [{ dtype, shape: found }, { dtype: "i64", shape: found }]
}

export const expand: Rule = (call) => {
  const x = input(call, 0)
  return [{
    dtype: x.dtype,
    shape: broadcast([x.shape, constant(call, 1)]) ?? broken(call.op, `cannot expand ${show(x)}`)
  }]
}

/** Dimensions `start` … `end`; the numbers are known where all of these are. */
export const shapeOf: Rule = (call) => {
  const all = input(call, 0).shape
  const shape = all.slice(int(call, "start", 0), int(call, "end", all.length))
  const values = shape.filter((dim) => typeof dim === "number")
  return [{ dtype: "i64", shape: [shape.length], values: values.length === shape.length ? values : undefined }]
}

export const oneHot: Rule = (call) => {
  const { shape } = input(call, 0)
  const axis = axisOf(call, int(call, "axis", -1), shape.length + 1)
  const [depth = 0] = constant(call, 1)
  return [{ dtype: input(call, 2).dtype, shape: [...shape.slice(0, axis), depth, ...shape.slice(axis)] }]
}

export const flatten: Rule = (call) => {
  const { dtype, shape } = input(call, 0)
  const axis = int(call, "axis", 1)
  return [{ dtype, shape: [productOf(shape.slice(0, axis)), productOf(shape.slice(axis))] }]
}
