import { Result } from "effect"
import type { Tensor } from "../tensor/Tensor.ts"
import { isTransposed } from "./format/transposed.ts"
import type { Seen } from "./kernel/Task.ts"
import { KernelError, NotFinite, ScaleOverflow } from "./KernelError.ts"

/** Blocks whose f16 scale is not a normal number, counted along `[rows × ceil(columns / 32)]`. */
export interface BlockCount {
  readonly count: number
  readonly first: number | undefined
}

/** What a kernel saw on its way through a tensor; indices count the tensor's numbers in C order. */
export interface WeightFacts {
  readonly numbers: number
  readonly firstNaN: number | undefined
  readonly firstInfinity: number | undefined
  /** largest finite magnitude */
  readonly largest: number
  readonly allZero: boolean
  /** non-zero blocks whose scale is subnormal or 0 in f16: their numbers lose precision or vanish */
  readonly underflow: BlockCount
  /** blocks whose scale is infinite in f16 */
  readonly overflow: BlockCount
  /** sums over the numbers that were converted or requantised from what was quantised elsewhere; else 0 */
  readonly squares: number
  readonly squaredErrors: number
}

/** Facts of no numbers at all. */
export const noFacts: WeightFacts = {
  numbers: 0,
  firstNaN: undefined,
  firstInfinity: undefined,
  largest: 0,
  allZero: true,
  underflow: { count: 0, first: undefined },
  overflow: { count: 0, first: undefined },
  squares: 0,
  squaredErrors: 0
}

const earlier = (a: number | undefined, b: number | undefined): number | undefined =>
  a === undefined ? b : b === undefined ? a : Math.min(a, b)

const counted = (a: BlockCount, b: BlockCount): BlockCount => ({
  count: a.count + b.count,
  first: earlier(a.first, b.first)
})

/** Facts of two sets of numbers together; the order does not matter, but for the last bits of sums. */
export const combine = (a: WeightFacts, b: WeightFacts): WeightFacts => ({
  numbers: a.numbers + b.numbers,
  firstNaN: earlier(a.firstNaN, b.firstNaN),
  firstInfinity: earlier(a.firstInfinity, b.firstInfinity),
  largest: Math.max(a.largest, b.largest),
  allZero: a.allZero && b.allZero,
  underflow: counted(a.underflow, b.underflow),
  overflow: counted(a.overflow, b.overflow),
  squares: a.squares + b.squares,
  squaredErrors: a.squaredErrors + b.squaredErrors
})

const index = (at: number, base: number): number | undefined => at < 0 ? undefined : at + base

/** What a worker saw of a piece that begins at number `first` and block `block` of the tensor. */
export const factsOf = (seen: Seen, numbers: number, first: number, block: number): WeightFacts => ({
  numbers,
  firstNaN: index(seen.nan, first),
  firstInfinity: index(seen.infinity, first),
  largest: seen.largest,
  allZero: seen.largest === 0 && seen.nan < 0 && seen.infinity < 0,
  underflow: { count: seen.underflows, first: index(seen.firstUnderflow, block) },
  overflow: { count: seen.overflows, first: index(seen.firstOverflow, block) },
  squares: seen.squares,
  squaredErrors: seen.errors
})

/** Index along each dimension of number `at` of a tensor in C order. */
const unravel = (at: number, shape: ReadonlyArray<number>): ReadonlyArray<number> =>
  shape.reduceRight<{ readonly rest: number; readonly found: ReadonlyArray<number> }>(
    ({ found, rest }, size) => ({ rest: Math.floor(rest / size), found: [rest % size, ...found] }),
    { rest: at, found: [] }
  ).found

/** The index as the source has it. */
const stored = (tensor: Tensor, index: ReadonlyArray<number>): ReadonlyArray<number> =>
  isTransposed(tensor) ? index.toReversed() : index

/** What holds a number that is not finite: integer codes are finite, so it is their scale. */
const culprit = (tensor: Tensor): Tensor => tensor.dtype === "f32" ? tensor.coded?.pieces["scale"] ?? tensor : tensor

/** Fails for weights that no result could be made of: NaN, infinity, or a scale that f16 does not hold; names the first. */
export const guard = (tensor: Tensor, facts: WeightFacts): Result.Result<void, KernelError> => {
  const fail = (reason: KernelError["reason"]) => Result.fail(new KernelError({ subject: tensor.name, reason }))
  const wrong = earlier(facts.firstNaN, facts.firstInfinity)
  if (wrong !== undefined) {
    const value = wrong === facts.firstNaN ? "NaN" : "Infinity"
    const { name, range } = culprit(tensor)
    const index = stored(tensor, unravel(wrong, tensor.shape))
    return Result.fail(new KernelError({ subject: name, reason: new NotFinite({ file: range.file, value, index }) }))
  }
  const { count, first } = facts.overflow
  if (first !== undefined) {
    const blocks = Math.ceil((tensor.shape.at(-1) ?? 1) / 32)
    const at = stored(tensor, [Math.floor(first / blocks), (first % blocks) * 32])
    return fail(new ScaleOverflow({ blocks: count, index: at, largest: facts.largest }))
  }
  return Result.void
}

/** Largest number of a 16-bit float: no trained weight comes near it. */
const LARGEST = 65504

/** What a user should know of a weight that can be computed with and still is no likely one, a sentence each. */
export const unlikely = (tensor: Tensor, facts: WeightFacts): ReadonlyArray<string> => {
  const { allZero, largest, numbers, underflow: { count, first } } = facts
  const matrix = tensor.shape.length > 1
  const blocks = Math.ceil((tensor.shape.at(-1) ?? 1) / 32)
  const at = first === undefined ? [] : stored(tensor, [Math.floor(first / blocks), (first % blocks) * 32])
  return [
    // biases and the norms of some families are zeros when training begins, and may stay so
    ...allZero && numbers > 0 && matrix ? [`all ${numbers} numbers are zero; is the checkpoint whole?`] : [],
    ...largest > LARGEST ? [`its largest magnitude is ${largest.toPrecision(4)}; is the checkpoint sound?`] : [],
    ...count > 0
      ? [
        `${count} blocks of 32, the first at [${at.join(", ")}], are too small for a 16-bit scale: they lose precision`
      ]
      : []
  ].map((text) => `${tensor.name}: ${text}`)
}
