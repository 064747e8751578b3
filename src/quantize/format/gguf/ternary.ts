import { type Block, eachBlock, f16, formOf } from "./Block.ts"

/** Digit `n` of the digits in base 3 of a byte, which holds them as a fraction of 256, first digit first. */
const digit = (byte: number, n: number): number => (((byte * 3 ** n) & 255) * 3) >> 8

const TQ1_0: Block = {
  name: "TQ1_0",
  numbers: 256,
  bytes: 54,
  codes: { form: formOf({ block: 256 }), low: 7, high: 9 },
  values: eachBlock(256, 54, (view, at) => {
    const d = f16(view, at + 52)
    const at3 = (byte: number, n: number) => (digit(view.getUint8(at + byte), n) - 1) * d
    return (i) => {
      if (i < 160) return at3(i & 31, i >> 5)
      if (i < 240) return at3(32 + ((i - 160) & 15), (i - 160) >> 4)
      return at3(48 + ((i - 240) & 3), (i - 240) >> 2)
    }
  })
}

const TQ2_0: Block = {
  name: "TQ2_0",
  numbers: 256,
  bytes: 66,
  // no quantiser writes the fourth digit; its level would be 2
  codes: { form: formOf({ block: 256 }), low: 7, high: 10 },
  values: eachBlock(256, 66, (view, at) => {
    const d = f16(view, at + 64)
    return (i) => (((view.getUint8(at + 32 * (i >> 7) + (i & 31)) >> ((i & 127) >> 5 << 1)) & 3) - 1) * d
  })
}

/**
 * Blocks of 256 digits −1, 0, 1 with one scale. TQ1_0: five digits a byte in 48 bytes @0 (32, then 16), four in 4 bytes @48,
 * d f16 @52. TQ2_0: four digits a byte in 64 bytes @0, d f16 @64.
 */
export const ternaryBlocks: ReadonlyArray<Block> = [TQ1_0, TQ2_0]
