import type { Block } from "./Block.ts"
import { bookBlocks } from "./book.ts"
import { gridBlocks } from "./grid.ts"
import { kBlocks } from "./k.ts"
import { plainBlocks } from "./plain.ts"
import { simpleBlocks } from "./simple.ts"
import { ternaryBlocks } from "./ternary.ts"

/** Every type of GGUF that is read. */
export const blocks: ReadonlyArray<Block> = [
  ...plainBlocks,
  ...simpleBlocks,
  ...kBlocks,
  ...bookBlocks,
  ...ternaryBlocks,
  ...gridBlocks
]
