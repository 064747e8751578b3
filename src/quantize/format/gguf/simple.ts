import { type Block, eachBlock, f16, formOf } from "./Block.ts"

const fround = Math.fround

/** Code `i` of 32 in 16 bytes: low nibbles are 0…15, high nibbles 16…31. */
const split = (view: DataView, at: number, i: number): number => (view.getUint8(at + (i & 15)) >> (i >> 4 << 2)) & 15

/** Fifth bits: bit `i` of a u32. */
const fifth = (view: DataView, at: number, i: number): number => ((view.getUint32(at, true) >>> i) & 1) << 4

const Q4_0: Block = {
  name: "Q4_0",
  numbers: 32,
  bytes: 18,
  codes: { form: formOf({}), low: 0, high: 15 },
  values: eachBlock(32, 18, (view, at) => {
    const d = f16(view, at)
    return (i) => (split(view, at + 2, i) - 8) * d
  })
}

const Q4_1: Block = {
  name: "Q4_1",
  numbers: 32,
  bytes: 20,
  codes: { form: formOf({ zeros: "none", minimum: true }), low: 0, high: 15 },
  values: eachBlock(32, 20, (view, at) => {
    const d = f16(view, at), m = f16(view, at + 2)
    return (i) => fround(split(view, at + 4, i) * d) + m
  })
}

const Q5_0: Block = {
  name: "Q5_0",
  numbers: 32,
  bytes: 22,
  codes: { form: formOf({ bits: 8 }), low: 112, high: 143 },
  values: eachBlock(32, 22, (view, at) => {
    const d = f16(view, at)
    return (i) => ((split(view, at + 6, i) | fifth(view, at + 2, i)) - 16) * d
  })
}

const Q5_1: Block = {
  name: "Q5_1",
  numbers: 32,
  bytes: 24,
  codes: { form: formOf({ bits: 8, zeros: "none", minimum: true }), low: 0, high: 31 },
  values: eachBlock(32, 24, (view, at) => {
    const d = f16(view, at), m = f16(view, at + 2)
    return (i) => fround((split(view, at + 8, i) | fifth(view, at + 4, i)) * d) + m
  })
}

const Q8_0: Block = {
  name: "Q8_0",
  numbers: 32,
  bytes: 34,
  codes: { form: formOf({ bits: 8 }), low: 0, high: 255 },
  values: eachBlock(32, 34, (view, at) => {
    const d = f16(view, at)
    return (i) => view.getInt8(at + 2 + i) * d
  })
}

/**
 * Blocks of 32 with a scale d, f16 @0: w = q · d, or q · d + m with m, f16 @2. Then, for 5 bits, the fifth bits, u32; then the
 * codes, 16 bytes (Q8_0: 32 i8). Levels of Q4_0 are code − 8, of Q5_0 code − 16.
 */
export const simpleBlocks: ReadonlyArray<Block> = [Q4_0, Q4_1, Q5_0, Q5_1, Q8_0]
