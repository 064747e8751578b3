import { fromE4m3 } from "../../../tensor/Float.ts"
import { type Block, eachBlock, f16, formOf } from "./Block.ts"

const fround = Math.fround

const levels = [-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113]

/** Twice the values of a 4-bit float; its negative zero is 0. */
const floats = [0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12]

/** Level `i` of `2 · size` in `size` bytes: low nibbles come first. */
const level = (table: ReadonlyArray<number>, view: DataView, at: number, i: number, size = 16): number =>
  table[(view.getUint8(at + i % size) >> (i < size ? 0 : 4)) & 15] ?? 0

const IQ4_NL: Block = {
  name: "IQ4_NL",
  numbers: 32,
  bytes: 18,
  codes: { form: formOf({ bits: 8 }), low: 1, high: 241 },
  values: eachBlock(32, 18, (view, at) => {
    const d = f16(view, at)
    return (i) => level(levels, view, at + 2, i) * d
  })
}

const IQ4_XS: Block = {
  name: "IQ4_XS",
  numbers: 256,
  bytes: 136,
  codes: { form: formOf({ bits: 8, scales: "f32" }), low: 1, high: 241 },
  values: eachBlock(256, 136, (view, at) => {
    const d = f16(view, at), high = view.getUint16(at + 2, true)
    return (i) => {
      const s = i >> 5
      const scale = ((view.getUint8(at + 4 + (s >> 1)) >> ((s & 1) << 2)) & 15 | (high >> (2 * s) & 3) << 4) - 32
      return fround(d * scale) * level(levels, view, at + 8 + 16 * s, i & 31)
    }
  })
}

const MXFP4: Block = {
  name: "MXFP4",
  numbers: 32,
  bytes: 17,
  codes: { form: formOf({ bits: 8, scales: "f32" }), low: 116, high: 140 },
  values: eachBlock(32, 17, (view, at) => {
    const scale = 2 ** (view.getUint8(at) - 128)
    return (i) => level(floats, view, at + 1, i) * scale
  })
}

const NVFP4: Block = {
  name: "NVFP4",
  numbers: 64,
  bytes: 36,
  values: eachBlock(64, 36, (view, at) => (i) => {
    const bits = view.getUint8(at + (i >> 4))
    // ggml: no sign, NaN is 0; half, because levels are doubled
    const scale = (bits & 0x7f) === 0x7f ? 0 : fromE4m3(bits & 0x7f) / 2
    return level(floats, view, at + 4 + 8 * (i >> 4), i & 15, 8) * scale
  })
}

/**
 * Blocks whose 4-bit codes point into a table of 16 levels.
 * IQ4_NL: d f16 @0, 16 bytes @2; w = level · d. IQ4_XS: d f16 @0, the top two bits of eight scales u16 @2, their low nibbles @4,
 * 128 bytes @8; w = (d · (scale − 32)) · level. MXFP4: exponent e @0, 16 bytes @1; w = level · 2^(e − 128).
 * NVFP4: four scales, e4m3 without sign @0, each for 16 numbers in 8 of the 32 bytes @4; w = level · scale / 2.
 */
export const bookBlocks: ReadonlyArray<Block> = [IQ4_NL, IQ4_XS, MXFP4, NVFP4]
