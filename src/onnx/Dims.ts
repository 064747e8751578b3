import type { Dim } from "./Graph.ts"

/** A product of dimensions: `numerator / denominator · symbols`, symbols sorted. */
interface Product {
  readonly numerator: number
  readonly denominator: number
  readonly symbols: ReadonlyArray<string>
}

const greatestCommonDivisor = (a: number, b: number): number => b === 0 ? a : greatestCommonDivisor(b, a % b)

/** The factors of a name such as `3*tokens/2`, as `render` writes them; what stands in parentheses is one factor. */
const parse = (dim: Dim): Product => {
  if (typeof dim === "number") return { numerator: dim, denominator: 1, symbols: [] }
  const factors = Array.from(
    dim.matchAll(/(^|[*/])((?:\([^()]*\)|[^*/()])+)/g),
    (match) => ({ over: match[1] === "/", text: match[2] ?? "" })
  )
  // A name that is not made of factors (nested sums) stays whole.
  if (factors.map(({ over, text }, at) => `${at === 0 ? "" : over ? "/" : "*"}${text}`).join("") !== dim) {
    return { numerator: 1, denominator: 1, symbols: [dim] }
  }
  let numerator = 1
  let denominator = 1
  const symbols: Array<string> = []
  for (const { over, text } of factors) {
    if (!/^\d+$/.test(text)) symbols.push(text)
    else if (over) denominator *= Number(text)
    else numerator *= Number(text)
  }
  return { numerator, denominator, symbols: symbols.sort() }
}

const render = ({ denominator, numerator, symbols }: Product): Dim => {
  const divisor = greatestCommonDivisor(numerator, denominator) || 1
  const over = denominator / divisor
  if (symbols.length === 0 && over === 1) return numerator / divisor
  const factors = [...(numerator / divisor === 1 ? [] : [String(numerator / divisor)]), ...symbols]
  return `${factors.length === 0 ? "1" : factors.join("*")}${over === 1 ? "" : `/${over}`}`
}

const multiply = (dims: ReadonlyArray<Dim>): Product => {
  const products = dims.map(parse)
  return {
    numerator: products.reduce((all, { numerator }) => all * numerator, 1),
    denominator: products.reduce((all, { denominator }) => all * denominator, 1),
    symbols: products.flatMap(({ symbols }) => symbols).sort()
  }
}

/** The product of dimensions: a number, or a name such as `3*tokens`. */
export const productOf = (dims: ReadonlyArray<Dim>): Dim => render(multiply(dims))

/**
 * `all / part` as one dimension, what a `-1` in Reshape stands for; undefined where a name of `part` is not in `all`
 * or numbers do not divide.
 */
export const quotientOf = (all: ReadonlyArray<Dim>, part: ReadonlyArray<Dim>): Dim | undefined => {
  const above = multiply(all)
  const below = multiply(part)
  const symbols = [...above.symbols]
  for (const symbol of below.symbols) {
    const at = symbols.indexOf(symbol)
    if (at < 0) return undefined
    symbols.splice(at, 1)
  }
  const numerator = above.numerator * below.denominator
  const denominator = above.denominator * below.numerator
  if (denominator === 0 || (symbols.length === 0 && numerator % denominator !== 0)) return undefined
  return render({ numerator, denominator, symbols })
}

/** The sum of dimensions: a number, or a name such as `(past+tokens)`. */
export const sumOf = (terms: ReadonlyArray<Dim>): Dim => {
  // terms of a sum that `sumOf` made are terms of this one
  const dims = terms.flatMap((term): ReadonlyArray<Dim> =>
    typeof term === "string" && /^\([^()]+\)$/.test(term)
      ? term.slice(1, -1).split("+").map((part) => /^-?\d+$/.test(part) ? Number(part) : part)
      : [term]
  )
  const known = dims.reduce<number>((sum, dim) => typeof dim === "number" ? sum + dim : sum, 0)
  const names = dims.filter((dim) => typeof dim === "string")
  const [first] = names
  if (first === undefined) return known
  if (names.every((name) => name === first) && known === 0) return productOf([names.length, first])
  return `(${[...names, ...(known === 0 ? [] : [known])].join("+")})`
}

/** What two dimensions broadcast to; undefined where they cannot. A number above 1 is believed over a name. */
const broadcastDim = (a: Dim, b: Dim): Dim | undefined => {
  if (a === b || b === 1) return a
  if (a === 1) return b
  if (typeof a === "number" && typeof b === "string") return a
  if (typeof a === "string" && typeof b === "number") return b
  return undefined
}

/** What shapes broadcast to, aligned at their last dimension; undefined where they cannot. Source: ONNX, "Broadcasting". */
export const broadcast = (shapes: ReadonlyArray<ReadonlyArray<Dim>>): ReadonlyArray<Dim> | undefined => {
  let result: ReadonlyArray<Dim> = []
  for (const shape of shapes) {
    const rank = Math.max(result.length, shape.length)
    const dims: Array<Dim> = []
    for (let at = 0; at < rank; at++) {
      const dim = broadcastDim(result[result.length - rank + at] ?? 1, shape[shape.length - rank + at] ?? 1)
      if (dim === undefined) return undefined
      dims.push(dim)
    }
    result = dims
  }
  return result
}
