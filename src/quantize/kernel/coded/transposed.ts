import { TRANSPOSED } from "../../format/transposed.ts"
import type { Family, FloatRows, Source } from "./Rows.ts"
import { Stripe } from "./Stripe.ts"

/** `[count × height]` of columns that lie side by side in rows of `stride` elements from `at`; elements are moved as they are. */
const turn = <A extends Uint16Array | Uint32Array>(
  elements: A,
  at: number,
  stride: number,
  height: number,
  count: number,
  to: number
): void => {
  for (let row = 0; row < height; row++) {
    const from = at + row * stride
    for (let column = 0; column < count; column++) elements[to + column * height + row] = elements[from + column] ?? 0
  }
}

const open = ({ columns, instance, most, piece, rows, tensor: { dtype } }: Source): FloatRows => {
  const width = dtype === "f32" ? 4 : 2
  const stripe = new Stripe(columns, rows, width, most)
  const read = piece("stored")
  return {
    kind: "floats",
    sizes: [stripe.bytes, width === 2 ? most * columns * 2 : 0],
    read: ([buffer = 0, turned = 0], first, count, to) => {
      const { at, stride } = stripe.load(read, buffer, first, count)
      const { exports } = instance
      const { buffer: memory } = exports.memory
      if (width === 4) return turn(new Uint32Array(memory), at / 4, stride, columns, count, to / 4)
      turn(new Uint16Array(memory), at / 2, stride, columns, count, turned / 2)
      exports[dtype === "f16" ? "widen_f16" : "widen_bf16"](turned, count * columns, to)
    }
  }
}

/** Plain numbers whose columns are the model's rows. */
export const transposed: Family = { reads: (format) => format === TRANSPOSED, open }
