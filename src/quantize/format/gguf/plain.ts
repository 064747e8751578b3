import { decodeFloats } from "../../../tensor/Float.ts"
import type { Block } from "./Block.ts"

/** Plain numbers; coded where their rows are interleaved, or something is to be added. */
export const plainBlocks: ReadonlyArray<Block> = (["f32", "f16", "bf16"] as const).map((plain) => ({
  name: plain.toUpperCase(),
  numbers: 1,
  bytes: plain === "f32" ? 4 : 2,
  plain,
  values: (blocks, count) => decodeFloats(plain, blocks).subarray(0, count)
}))
