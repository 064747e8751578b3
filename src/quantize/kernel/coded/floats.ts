import { fromBf16, fromE4m3, fromF16 } from "../../../tensor/Float.ts"
import { e2m1, e4m3, floatFormats } from "../../format/quantized/floats.ts"
import { pieceOf, sidesOf } from "../../format/quantized/Layout.ts"
import { rowScales } from "./Codes.ts"
import type { Family, FloatRows, Source } from "./Rows.ts"

const single = new Float32Array(1)
const singleBits = new Uint32Array(single.buffer)

const fromF32 = (bits: number): number => {
  singleBits[0] = bits
  return single[0] ?? 0
}

/** Value of a stored scale, by its bits. */
const decoderOf = ({ tensor }: Source) => {
  const dtype = pieceOf(tensor, "scale")?.dtype
  return dtype === "f16" ? fromF16 : dtype === "bf16" ? fromBf16 : dtype === "f8_e4m3" ? fromE4m3 : fromF32
}

const open = (source: Source): FloatRows => {
  const { coded, columns, instance, most, piece, tensor } = source
  const { group, groups } = sidesOf(tensor)
  const isNvfp4 = coded.format === "nvfp4"
  const rowBytes = isNvfp4 ? columns / 2 : columns
  const read = piece(isNvfp4 ? "packed" : "codes")
  const readGlobal = isNvfp4 ? piece("global_scale") : undefined
  const decode = decoderOf(source)
  const dtype = pieceOf(tensor, "scale")?.dtype
  const scales = rowScales(source, dtype === "f8_e4m3" ? 1 : dtype === "f32" ? 4 : 2)
  const table = Float32Array.from(isNvfp4 ? e2m1 : e4m3)
  return {
    kind: "floats",
    sizes: [most * rowBytes, 4, ...scales.sizes],
    read: ([at = 0, global = 0, ...buffers], first, count, to) => {
      read(at, first * rowBytes, count * rowBytes)
      readGlobal?.(global, 0, 4)
      const scaleOf = scales.read(buffers, first, count)
      const { bytes } = instance
      const numbers = new Float32Array(instance.exports.memory.buffer)
      const divisor = isNvfp4 ? numbers[global / 4] ?? NaN : 1
      for (let row = 0; row < count; row++) {
        for (let g = 0; g < groups; g++) {
          const scale = Math.fround(decode(scaleOf(row, g)) / divisor)
          const from = at + row * rowBytes, target = to / 4 + row * columns
          for (let column = g * group; column < (g + 1) * group; column++) {
            const code = isNvfp4
              ? ((bytes[from + (column >> 1)] ?? 0) >> ((column & 1) << 2)) & 15
              : bytes[from + column] ?? 0
            numbers[target + column] = (table[code] ?? NaN) * scale
          }
        }
      }
    }
  }
}

/** FP8 and NVFP4 of compressed-tensors. */
export const floats: Family = {
  reads: (format) => floatFormats.some(({ name }) => name === format),
  open
}
