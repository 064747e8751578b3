import { fromF16 } from "../../../tensor/Float.ts"
import { type Block, eachBlock, f16 } from "./Block.ts"
import { grids } from "./grids.ts"

const fround = Math.fround

/** Numbers of a grid, point after point, unpacked when first asked for. */
const unpacked = (packed: string, magnitudes: ReadonlyArray<number>) => {
  let points: Float32Array | undefined
  return (): Float32Array => {
    if (points !== undefined) return points
    const bits = magnitudes.length === 3 ? 2 : 4, inByte = 8 / bits, mask = 2 ** bits - 1
    const bytes = Buffer.from(packed, "base64")
    points = Float32Array.from(
      { length: bytes.length * inByte },
      (_, i) => magnitudes[((bytes[Math.floor(i / inByte)] ?? 0) >> (i % inByte * bits)) & mask] ?? 0
    )
    return points
  }
}

const three = [0x08, 0x19, 0x2b]
const points = {
  IQ1_S: unpacked(grids.IQ1_S, [-1, 0, 1]),
  IQ2_XXS: unpacked(grids.IQ2_XXS, three),
  IQ2_XS: unpacked(grids.IQ2_XS, three),
  IQ2_S: unpacked(grids.IQ2_S, three),
  IQ3_XXS: unpacked(grids.IQ3_XXS, [0x04, 0x0c, 0x14, 0x1c, 0x24, 0x2c, 0x34, 0x3e]),
  IQ3_S: unpacked(grids.IQ3_S, [0x01, 0x03, 0x05, 0x07, 0x09, 0x0b, 0x0d, 0x0f])
}

/** Nibble `n` of the bytes at `at`, low nibbles first. */
const nibble = (view: DataView, at: number, n: number): number => (view.getUint8(at + (n >> 1)) >> ((n & 1) << 2)) & 15

/** −1 where bit `i` is set. */
const sign = (bits: number, i: number): number => (bits >> i) & 1 ? -1 : 1

/** Signs of eight numbers from seven bits: an even number is negative. */
const evenSigns = (seven: number): number => {
  const folded = seven ^ seven >> 4
  const pairs = folded ^ folded >> 2
  return seven | ((pairs ^ pairs >> 1) & 1) << 7
}

const IQ2_XXS: Block = {
  name: "IQ2_XXS",
  numbers: 256,
  bytes: 66,
  values: eachBlock(256, 66, (view, at) => {
    const d = f16(view, at), grid = points.IQ2_XXS()
    return (i) => {
      const group = at + 2 + 8 * (i >> 5), j = (i >> 3) & 3, i8 = i & 7
      const word = view.getUint32(group + 4, true)
      const scale = fround(fround(d * (0.5 + (word >>> 28))) * 0.25)
      const point = grid[8 * view.getUint8(group + j) + i8] ?? 0
      return fround(scale * point) * sign(evenSigns((word >>> (7 * j)) & 127), i8)
    }
  })
}

const IQ2_XS: Block = {
  name: "IQ2_XS",
  numbers: 256,
  bytes: 74,
  values: eachBlock(256, 74, (view, at) => {
    const d = f16(view, at), grid = points.IQ2_XS()
    return (i) => {
      const word = view.getUint16(at + 2 + 2 * (i >> 3), true), i8 = i & 7
      const scale = fround(fround(d * (0.5 + nibble(view, at + 66, i >> 4))) * 0.25)
      return fround(scale * (grid[8 * (word & 511) + i8] ?? 0)) * sign(evenSigns(word >> 9), i8)
    }
  })
}

const IQ2_S: Block = {
  name: "IQ2_S",
  numbers: 256,
  bytes: 82,
  values: eachBlock(256, 82, (view, at) => {
    const d = f16(view, at), grid = points.IQ2_S()
    return (i) => {
      const n = i >> 3, i8 = i & 7
      const index = view.getUint8(at + 2 + n) | ((view.getUint8(at + 66 + (n >> 2)) >> (2 * (n & 3))) & 3) << 8
      const scale = fround(fround(d * (0.5 + nibble(view, at + 74, i >> 4))) * 0.25)
      return fround(scale * (grid[8 * index + i8] ?? 0)) * sign(view.getUint8(at + 34 + n), i8)
    }
  })
}

const IQ3_XXS: Block = {
  name: "IQ3_XXS",
  numbers: 256,
  bytes: 98,
  values: eachBlock(256, 98, (view, at) => {
    const d = f16(view, at), grid = points.IQ3_XXS()
    return (i) => {
      const word = view.getUint32(at + 66 + 4 * (i >> 5), true)
      const scale = fround(fround(d * (0.5 + (word >>> 28))) * 0.5)
      const point = grid[4 * view.getUint8(at + 2 + (i >> 2)) + (i & 3)] ?? 0
      return fround(scale * point) * sign(evenSigns((word >>> (7 * ((i >> 3) & 3))) & 127), i & 7)
    }
  })
}

const IQ3_S: Block = {
  name: "IQ3_S",
  numbers: 256,
  bytes: 110,
  values: eachBlock(256, 110, (view, at) => {
    const d = f16(view, at), grid = points.IQ3_S()
    return (i) => {
      const n = i >> 2
      const index = view.getUint8(at + 2 + n) | ((view.getUint8(at + 66 + (n >> 3)) >> (n & 7)) & 1) << 8
      const scale = fround(d * (1 + 2 * nibble(view, at + 106, i >> 5)))
      return fround(scale * (grid[4 * index + (i & 3)] ?? 0)) * sign(view.getUint8(at + 74 + (i >> 3)), i & 7)
    }
  })
}

const IQ1_S: Block = {
  name: "IQ1_S",
  numbers: 256,
  bytes: 50,
  values: eachBlock(256, 50, (view, at) => {
    const d = f16(view, at), grid = points.IQ1_S()
    return (i) => {
      const n = i >> 3, high = view.getUint16(at + 34 + 2 * (i >> 5), true)
      const index = view.getUint8(at + 2 + n) | ((high >> (3 * (n & 3))) & 7) << 8
      const point = (grid[8 * index + (i & 7)] ?? 0) + ((high & 0x8000) === 0 ? 0.125 : -0.125)
      return fround(d * (2 * ((high >> 12) & 7) + 1)) * point
    }
  })
}

const IQ1_M: Block = {
  name: "IQ1_M",
  numbers: 256,
  bytes: 56,
  values: eachBlock(256, 56, (view, at) => {
    const grid = points.IQ1_S()
    const word = (n: number) => view.getUint16(at + 48 + 2 * n, true)
    // the scale of all lies in the top nibbles of the words that hold the 16 scales
    const d = fromF16(word(0) >> 12 | (word(1) & 0xf000) >> 8 | (word(2) & 0xf000) >> 4 | word(3) & 0xf000)
    return (i) => {
      const n = i >> 3, s = i >> 4, high = nibble(view, at + 32, n)
      const point = (grid[8 * (view.getUint8(at + n) | (high & 7) << 8) + (i & 7)] ?? 0)
        + ((high & 8) === 0 ? 0.125 : -0.125)
      return fround(d * (2 * ((word(s >> 2) >> (3 * (s & 3))) & 7) + 1)) * point
    }
  })
}

/**
 * Blocks of 256 whose codes name points of 8 numbers (IQ3: 4) in a grid of magnitudes; signs and scales lie beside. No codes of
 * ours take them: they are decoded. d f16 @0 but for IQ1_M.
 * IQ2_XXS: eight groups of 32 @2: 4 index bytes, then u32: four times 7 signs, scale in the top four bits.
 * IQ2_XS: 32 u16 @2: 9 bits of index, 7 signs; 16 scale nibbles @66. IQ2_S: 32 index bytes @2, signs @34, two index bits @66, scales @74.
 * IQ3_XXS: 64 index bytes @2, eight u32 @66 as in IQ2_XXS. IQ3_S: 64 index bytes @2, ninth bits @66, signs @74, eight scales @106.
 * IQ1_S: 32 index bytes @2, eight u16 @34: four times three index bits, scale, sign of the offset. IQ1_M: the same bytes @0, nibbles
 * of index bits and offset sign @32, 16 scales of 3 bits in four u16 @48.
 */
export const gridBlocks: ReadonlyArray<Block> = [IQ1_S, IQ1_M, IQ2_XXS, IQ2_XS, IQ2_S, IQ3_XXS, IQ3_S]
