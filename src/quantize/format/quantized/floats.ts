import { fromE4m3 } from "../../../tensor/Float.ts"
import type { Format } from "../Format.ts"
import { scaleBytes, scaleReader, sidesOf } from "./Layout.ts"

/** Magnitudes of the 4-bit float of NVFP4, by the low three bits; the fourth is the sign. Source: OCP microscaling formats 1.0, E2M1. */
const magnitudes = [0, 0.5, 1, 1.5, 2, 3, 4, 6] as const

/** All sixteen codes. */
export const e2m1: ReadonlyArray<number> = [...magnitudes, ...magnitudes.map((value) => -value)]

/** All 256 codes. */
export const e4m3: ReadonlyArray<number> = Array.from({ length: 256 }, (_, code) => fromE4m3(code))

/** `code · scale`, f8_e4m3 codes in C order. Source: compressed-tensors 0.19, `FloatQuantizationCompressor`. */
const fp8: Format = {
  name: "fp8",
  form: () => undefined,
  exact: false,
  sizes: (tensor) => {
    const { columns, rows } = sidesOf(tensor)
    return { codes: rows * columns, scale: scaleBytes(tensor) }
  },
  values: (tensor, { codes = new Uint8Array(), scale = new Uint8Array() }) => {
    const { columns, group } = sidesOf(tensor)
    const scaleOf = scaleReader(tensor, scale, false)
    return Float32Array.from(
      codes,
      (code, i) => (e4m3[code] ?? NaN) * scaleOf(Math.floor(i / columns), Math.floor((i % columns) / group))
    )
  }
}

/**
 * `code · (scale / global scale)`, each rounded to f32; E2M1 codes, the even column in the low nibble; one f8_e4m3 scale for 16.
 * Source: compressed-tensors 0.19, `NVFP4PackedCompressor`.
 */
const nvfp4: Format = {
  name: "nvfp4",
  form: () => undefined,
  exact: false,
  sizes: (tensor) => {
    const { columns, rows } = sidesOf(tensor)
    return { packed: rows * columns / 2, scale: scaleBytes(tensor), global_scale: 4 }
  },
  values: (tensor, { global_scale = new Uint8Array(4), packed = new Uint8Array(), scale = new Uint8Array() }) => {
    const { columns, group, rows } = sidesOf(tensor)
    const scaleOf = scaleReader(tensor, scale, false)
    const divisor = new DataView(global_scale.buffer, global_scale.byteOffset).getFloat32(0, true)
    return Float32Array.from({ length: rows * columns }, (_, i) => {
      const code = ((packed[i >> 1] ?? 0) >> (i % 2 * 4)) & 15
      return (e2m1[code] ?? NaN) *
        Math.fround(scaleOf(Math.floor(i / columns), Math.floor((i % columns) / group)) / divisor)
    })
  }
}

/** Eight- and four-bit floats: no integer codes hold their numbers. */
export const floatFormats: ReadonlyArray<Format> = [fp8, nvfp4]
