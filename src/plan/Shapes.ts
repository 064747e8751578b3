import type { Job } from "./Job.ts"
import { type Program, programName } from "./Parts.ts"

/** A program as a target compiles it: `dims` gives each symbolic dimension its size; empty for targets that take them as they are. */
export interface Shaped {
  readonly name: string
  readonly dims: Readonly<Record<string, number>>
}

/** Sizes that decide the shapes of a target's programs; tokens. */
export interface Sizes {
  /** `--max_num_tokens` */
  readonly context: number
  /** `--language_group_size` */
  readonly group: number
  /** `--future_token_mask_size`: positions that share a cache program */
  readonly mask: number
}

/** Where a cache program stands, and the positions that it sees: those behind the wanted ones are masked. */
interface CachePosition {
  readonly position: number
  readonly context: number
}

/**
 * Cache programs of prefill: the one at position p serves passes that begin at p and up to the next one's, and sees the positions
 * before and in them. 0, 128, 256, … for groups and masks of 128.
 */
export const groupPositions = ({ context, group, mask }: Sizes): ReadonlyArray<CachePosition> => {
  const step = Math.ceil(mask / group) * group
  return Array.from({ length: Math.ceil(context / step) }, (_, i) => ({
    position: i * step,
    context: Math.min((i + 1) * step, context)
  }))
}

/** Cache programs of decode: the one at position p serves tokens up to p that no earlier one does. 127, 255, … for masks of 128. */
export const singlePositions = ({ context, mask }: Sizes): ReadonlyArray<CachePosition> =>
  Array.from({ length: Math.ceil(context / mask) }, (_, i) => {
    const seen = Math.min((i + 1) * mask, context)
    return { position: seen - 1, context: seen }
  })

/**
 * What a target compiles for a program. With fixed shapes group programs take `--language_group_size` tokens, single ones one;
 * cache programs are cut by position, `group_cache_3_256` for layer 3 from position 256.
 */
export const shapedOf = ({ request, target }: Job, program: Program): ReadonlyArray<Shaped> => {
  const name = programName(program)
  if (target.shapes === "symbolic") return [{ name, dims: {} }]
  const sizes = { context: request.maxNumTokens, group: request.languageGroupSize, mask: request.futureTokenMaskSize }
  const tokens = program.isGroup ? Math.min(sizes.group, sizes.context) : 1
  if (program.part !== "CACHE") return [{ name, dims: { tokens, rows: request.returnLogits ? tokens : 1 } }]
  return (program.isGroup ? groupPositions(sizes) : singlePositions(sizes)).map(({ context, position }) => ({
    name: `${name}_${position}`,
    dims: { tokens: Math.min(tokens, context), context }
  }))
}
