import type { Instance } from "./Instance.ts"
import type { Seen } from "./Task.ts"

/** What is known before anything was looked at. */
export const nothing: Seen = {
  nan: -1,
  infinity: -1,
  largest: 0,
  underflows: 0,
  firstUnderflow: -1,
  overflows: 0,
  firstOverflow: -1,
  squares: 0,
  errors: 0
}

const first = (a: number, b: number, base: number): number => a >= 0 ? a : b < 0 ? -1 : b + base

/** Runs a kernel and adds what it saw; `base` and `block` are the indices of its first number and block in the piece. */
export const look = (instance: Instance, so: Seen, base: number, block: number, kernel: () => void): Seen => {
  instance.exports.reset()
  kernel()
  const now = instance.seen
  return {
    nan: first(so.nan, now.nan, base),
    infinity: first(so.infinity, now.infinity, base),
    largest: Math.max(so.largest, now.largest),
    underflows: so.underflows + now.underflows,
    firstUnderflow: first(so.firstUnderflow, now.firstUnderflow, block),
    overflows: so.overflows + now.overflows,
    firstOverflow: first(so.firstOverflow, now.firstOverflow, block),
    squares: so.squares + now.squares,
    errors: so.errors + now.errors
  }
}
