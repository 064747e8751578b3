import { type Block, eachBlock, f16, formOf } from "./Block.ts"

const fround = Math.fround

/** Where number `i` of 256 in 64 bytes of 2-bit codes is: halves of 128 in 32 bytes, 32 numbers for each two bits. */
const twoBits = (view: DataView, at: number, i: number): number =>
  (view.getUint8(at + (i >> 7 << 5) + (i & 31)) >> ((i & 127) >> 5 << 1)) & 3

const Q2_K: Block = {
  name: "Q2_K",
  numbers: 256,
  bytes: 84,
  codes: { form: formOf({ block: 16, scales: "f32", zeros: "none", minimum: true }), low: 0, high: 3 },
  values: eachBlock(256, 84, (view, at) => {
    const d = f16(view, at + 80), dmin = f16(view, at + 82)
    return (i) => {
      const both = view.getUint8(at + (i >> 4))
      return fround(fround(d * (both & 15)) * twoBits(view, at + 16, i)) - fround(dmin * (both >> 4))
    }
  })
}

/** Scale `s` of 16 in 12 bytes: eight bytes of nibbles, then four of the top two bits; 32 less. */
const scale3 = (view: DataView, at: number, s: number): number =>
  ((view.getUint8(at + (s & 7)) >> (s >> 3 << 2)) & 15
    | ((view.getUint8(at + 8 + (s & 3)) >> (s >> 2 << 1)) & 3) << 4) - 32

const Q3_K: Block = {
  name: "Q3_K",
  numbers: 256,
  bytes: 110,
  codes: { form: formOf({ block: 16, scales: "f32" }), low: 4, high: 11 },
  values: eachBlock(256, 110, (view, at) => {
    const d = f16(view, at + 108)
    return (i) => {
      const isSet = (view.getUint8(at + (i & 31)) >> (i >> 5) & 1) === 1
      return fround(d * scale3(view, at + 96, i >> 4)) * (twoBits(view, at + 32, i) - (isSet ? 0 : 4))
    }
  })
}

/** Scale and minimum of group `s` of 8 in 12 bytes, 6 bits each. */
const scale4 = (view: DataView, at: number, s: number): { readonly scale: number; readonly least: number } => {
  const byte = (i: number) => view.getUint8(at + i)
  return s < 4
    ? { scale: byte(s) & 63, least: byte(s + 4) & 63 }
    : { scale: byte(s + 4) & 15 | byte(s - 4) >> 6 << 4, least: byte(s + 4) >> 4 | byte(s) >> 6 << 4 }
}

/** Q4_K and Q5_K: what scales and minima make of the code of number `i`. */
const grouped = (view: DataView, at: number, code: (i: number) => number) => {
  const d = f16(view, at), dmin = f16(view, at + 2)
  return (i: number): number => {
    const { least, scale } = scale4(view, at + 4, i >> 5)
    return fround(fround(d * scale) * code(i)) - fround(dmin * least)
  }
}

/** Low four bits of number `i` in 128 bytes: groups of 32 share bytes by twos. */
const nibble = (view: DataView, at: number, i: number): number =>
  (view.getUint8(at + (i >> 6 << 5) + (i & 31)) >> ((i >> 5 & 1) << 2)) & 15

const Q4_K: Block = {
  name: "Q4_K",
  numbers: 256,
  bytes: 144,
  codes: { form: formOf({ scales: "f32", zeros: "none", minimum: true }), low: 0, high: 15 },
  values: eachBlock(256, 144, (view, at) => grouped(view, at, (i) => nibble(view, at + 16, i)))
}

const Q5_K: Block = {
  name: "Q5_K",
  numbers: 256,
  bytes: 176,
  codes: { form: formOf({ bits: 8, scales: "f32", zeros: "none", minimum: true }), low: 0, high: 31 },
  values: eachBlock(256, 176, (view, at) =>
    grouped(
      view,
      at,
      (i) => nibble(view, at + 48, i) | (view.getUint8(at + 16 + (i & 31)) >> (i >> 5) & 1) << 4
    ))
}

const Q6_K: Block = {
  name: "Q6_K",
  numbers: 256,
  bytes: 210,
  codes: { form: formOf({ bits: 8, block: 16, scales: "f32" }), low: 96, high: 159 },
  values: eachBlock(256, 210, (view, at) => {
    const d = f16(view, at + 208)
    return (i) => {
      const half = i >> 7, group = i >> 5 & 3
      const low = (view.getUint8(at + 64 * half + 32 * (group & 1) + (i & 31)) >> (group >> 1 << 2)) & 15
      const top = (view.getUint8(at + 128 + 32 * half + (i & 31)) >> (group << 1)) & 3
      return fround(d * view.getInt8(at + 192 + (i >> 4))) * ((low | top << 4) - 32)
    }
  })
}

/**
 * Blocks of 256 with scales of their own for each 16 (Q2_K, Q3_K, Q6_K) or 32 numbers: w = (d · scale) · q − dmin · min, or without
 * the minimum for Q3_K and Q6_K, whose q has both signs.
 * Q2_K: 16 bytes of scale and min, a nibble each @0, 64 bytes @16, d f16 @80, dmin f16 @82.
 * Q3_K: 32 bytes of third bits @0, 64 bytes @32, 12 bytes of scales @96, d f16 @108.
 * Q4_K: d f16 @0, dmin f16 @2, 12 bytes of scales @4, 128 bytes @16. Q5_K: the same, 32 bytes of fifth bits @16, 128 bytes @48.
 * Q6_K: 128 bytes of low nibbles @0, 64 bytes of top bits @128, 16 i8 scales @192, d f16 @208.
 */
export const kBlocks: ReadonlyArray<Block> = [Q2_K, Q3_K, Q4_K, Q5_K, Q6_K]
