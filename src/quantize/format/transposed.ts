import { byteLength } from "../../tensor/DType.ts"
import { decodeFloats } from "../../tensor/Float.ts"
import type { Tensor } from "../../tensor/Tensor.ts"
import type { Format } from "./Format.ts"

/** Its name. */
export const TRANSPOSED = "transposed"

/** A matrix `[in × out]` of plain numbers as kernels want it, `[out × in]`. */
export const transposed = (tensor: Tensor): Tensor => ({
  ...tensor,
  shape: tensor.shape.toReversed(),
  coded: {
    format: TRANSPOSED,
    pieces: { stored: tensor },
    bits: 8,
    group: tensor.shape[0] ?? 1,
    ordered: false,
    interleavedHeads: 0,
    addend: 0
  }
})

/** Whether kernels see this tensor turned over, and indices mean the opposite. */
export const isTransposed = ({ coded }: Tensor): boolean => coded?.format === TRANSPOSED

/** Plain numbers (bf16, f16, f32), the model's columns one after the other. */
export const transposedFormat: Format = {
  name: TRANSPOSED,
  form: () => undefined,
  exact: true,
  sizes: ({ dtype, shape: [rows = 0, columns = 0] }) => ({ stored: byteLength(dtype, rows * columns) }),
  values: ({ dtype, name, shape: [rows = 0, columns = 0] }, { stored = new Uint8Array() }) => {
    if (dtype !== "bf16" && dtype !== "f16" && dtype !== "f32") throw new Error(`${name} is ${dtype}`)
    const numbers = decodeFloats(dtype, stored)
    return Float32Array.from(
      { length: rows * columns },
      (_, i) => numbers[(i % columns) * rows + Math.floor(i / columns)] ?? NaN
    )
  }
}
