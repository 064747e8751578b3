/** How far numbers are from those expected. */
export interface Difference {
  /** mean over the rows (tokens) of ‖found − expected‖ / ‖expected‖; ‖found‖ of a row that should be zeros */
  readonly error: number
  /** largest |found − expected| */
  readonly largest: number
}

/**
 * Row by row, so that a token whose numbers are a hundred times those of others (the first of a text often is one) hides nothing;
 * `before` `[rows × columns]`: what the program adds to, where it carries a stream on: then the error is that of what it adds. Sums are in doubles.
 */
export const differenceOf = (
  found: Float32Array,
  expected: Float32Array,
  columns: number,
  before?: Float32Array
): Difference => {
  const rows = columns === 0 ? 0 : Math.floor(expected.length / columns)
  let largest = 0
  let total = 0
  for (let row = 0; row < rows; row++) {
    let off = 0
    let all = 0
    for (let i = row * columns; i < (row + 1) * columns; i++) {
      const wanted = expected[i] ?? 0
      const difference = (found[i] ?? 0) - wanted
      const part = wanted - (before?.[i] ?? 0)
      off += difference * difference
      all += part * part
      const size = Math.abs(difference)
      if (size > largest) largest = size
    }
    total += all > 0 ? Math.sqrt(off / all) : Math.sqrt(off)
  }
  return { error: rows === 0 ? 0 : total / rows, largest }
}

/** A number that no output of a program may have. */
export interface Fault {
  readonly index: number
  readonly found: "NaN" | "Infinity" | "-Infinity" | "zeros"
}

const isZero = (value: number): boolean => value === 0

/** The first number that is not finite; a tensor of zeros alone where the reference has other numbers. */
export const faultOf = (found: Float32Array, expected: Float32Array): Fault | undefined => {
  const index = found.findIndex((value) => !Number.isFinite(value))
  if (index >= 0) {
    const value = found[index] ?? NaN
    return { index, found: Number.isNaN(value) ? "NaN" : value > 0 ? "Infinity" : "-Infinity" }
  }
  return found.length > 0 && found.every(isZero) && !expected.every(isZero) ? { index: 0, found: "zeros" } : undefined
}

/** Row-wise mean of KL(expected ‖ found) of two tables of logits `[rows × columns]` in nats, and the rows with the same maximum. */
export const divergenceOf = (
  found: Float32Array,
  expected: Float32Array,
  columns: number
): { readonly kl: number; readonly agreeing: number; readonly rows: number } => {
  const rows = columns === 0 ? 0 : Math.floor(expected.length / columns)
  let kl = 0
  let agreeing = 0
  for (let row = 0; row < rows; row++) {
    const p = expected.subarray(row * columns, (row + 1) * columns)
    const q = found.subarray(row * columns, (row + 1) * columns)
    const [bestP, sumP] = normaliserOf(p)
    const [bestQ, sumQ] = normaliserOf(q)
    if (bestP === bestQ) agreeing++
    for (let i = 0; i < columns; i++) {
      const logP = (p[i] ?? 0) - sumP
      kl += Math.exp(logP) * (logP - ((q[i] ?? 0) - sumQ))
    }
  }
  return { kl: rows === 0 ? 0 : kl / rows, agreeing, rows }
}

/** Where the largest logit is, and the logarithm of the sum of all exponentials. */
const normaliserOf = (logits: Float32Array): readonly [number, number] => {
  let best = 0
  for (let i = 1; i < logits.length; i++) if ((logits[i] ?? 0) > (logits[best] ?? 0)) best = i
  const top = logits[best] ?? 0
  let sum = 0
  for (const logit of logits) sum += Math.exp(logit - top)
  return [best, top + Math.log(sum)]
}
