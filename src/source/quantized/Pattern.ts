// Patterns of a configuration are untrusted: JavaScript's own engine may take forever over a short one. This one keeps the set of
// places where the pattern may stand, so its time is bounded by the lengths of pattern and text.
import { Result } from "effect"

/** Places in a text that a part of a pattern can reach from given places. */
type Part = (text: string, from: ReadonlySet<number>) => ReadonlySet<number>

/** Characters of a pattern, and parentheses in it; names of modules have less than 200. */
const maxLength = 500
const maxDepth = 4

const one = (matches: (char: string) => boolean): Part => (text, from) => {
  const reached = new Set<number>()
  for (const at of from) if (at < text.length && matches(text.charAt(at))) reached.add(at + 1)
  return reached
}

const repeat = (part: Part, least: 0 | 1, once: boolean): Part => (text, from) => {
  const reached = new Set(least === 0 ? from : [])
  let frontier = from
  while (frontier.size > 0) {
    frontier = new Set(Array.from(part(text, frontier)).filter((at) => !reached.has(at)))
    for (const at of frontier) reached.add(at)
    if (once) break
  }
  return reached
}

const sequence = (parts: ReadonlyArray<Part>): Part => (text, from) =>
  parts.reduce((reached, part) => part(text, reached), from)

const either = (parts: ReadonlyArray<Part>): Part => (text, from) =>
  new Set(parts.flatMap((part) => Array.from(part(text, from))))

const isDigit = (char: string): boolean => char >= "0" && char <= "9"
const isWord = (char: string): boolean => /[A-Za-z0-9_]/.test(char)

/** What `\x` means; undefined for what is not built. */
const escaped = (char: string): ((char: string) => boolean) | undefined =>
  char === "d" ? isDigit : char === "w" ? isWord : /[A-Za-z0-9]/.test(char) ? undefined : (other) => other === char

/** Carries what is not built out of the recursion. */
class NotBuilt extends Error {}

/** A cursor over a pattern. */
class Reader {
  #at = 0
  readonly text: string
  constructor(text: string) {
    this.text = text
  }

  get isDone(): boolean {
    return this.#at >= this.text.length
  }

  peek(): string {
    return this.text.charAt(this.#at)
  }

  take(): string {
    if (this.isDone) throw new NotBuilt()
    return this.text.charAt(this.#at++)
  }

  skip(text: string): boolean {
    const found = this.text.startsWith(text, this.#at)
    if (found) this.#at += text.length
    return found
  }
}

/** `[a-z_]`, after the bracket. */
const readClass = (reader: Reader): Part => {
  const negated = reader.skip("^")
  const tests: Array<(char: string) => boolean> = []
  while (!reader.skip("]")) {
    const first = reader.take()
    if (first === "\\") {
      const test = escaped(reader.take())
      if (test === undefined) throw new NotBuilt()
      tests.push(test)
    } else if (reader.peek() === "-" && !reader.text.endsWith("-")) {
      reader.take()
      const last = reader.take()
      if (last === "]" || last === "\\") throw new NotBuilt()
      tests.push((char) => char >= first && char <= last)
    } else tests.push((char) => char === first)
  }
  return one((char) => tests.some((test) => test(char)) !== negated)
}

const readAtom = (reader: Reader, depth: number): Part => {
  const char = reader.take()
  switch (char) {
    case ".":
      return one((other) => other !== "\n")
    case "\\": {
      const test = escaped(reader.take())
      if (test === undefined) throw new NotBuilt()
      return one(test)
    }
    case "[":
      return readClass(reader)
    case "(": {
      if (!reader.skip("?:") && reader.peek() === "?") throw new NotBuilt()
      const inner = readAlternatives(reader, depth + 1)
      if (!reader.skip(")")) throw new NotBuilt()
      return inner
    }
    case "^":
      return (_, from) => new Set(Array.from(from).filter((at) => at === 0))
    case "$":
      return (text, from) => new Set(Array.from(from).filter((at) => at === text.length))
    case "*":
    case "+":
    case "?":
    case "{":
      throw new NotBuilt()
    default:
      return one((other) => other === char)
  }
}

const readSequence = (reader: Reader, depth: number): Part => {
  const parts: Array<Part> = []
  while (!reader.isDone && reader.peek() !== "|" && reader.peek() !== ")") {
    let part = readAtom(reader, depth)
    if (reader.skip("*")) part = repeat(part, 0, false)
    else if (reader.skip("+")) part = repeat(part, 1, false)
    else if (reader.skip("?")) part = repeat(part, 0, true)
    else if (reader.peek() === "{") throw new NotBuilt()
    parts.push(part)
  }
  return sequence(parts)
}

const readAlternatives = (reader: Reader, depth: number): Part => {
  if (depth > maxDepth) throw new NotBuilt()
  const parts = [readSequence(reader, depth)]
  while (reader.skip("|")) parts.push(readSequence(reader, depth))
  return either(parts)
}

/**
 * Whether a text begins with what a pattern describes, as Python's `re.match` tells it, for patterns of literals, `.`, classes,
 * `\d`, `\w`, groups, `|`, `*`, `+`, `?`, `^` and `$`. Fails with the pattern where it has something else.
 */
export const compilePattern = (pattern: string): Result.Result<(text: string) => boolean, string> => {
  if (pattern.length > maxLength) return Result.fail(pattern)
  return Result.try({
    try: () => {
      const reader = new Reader(pattern)
      const whole = readAlternatives(reader, 0)
      if (!reader.isDone) throw new NotBuilt()
      return (text: string) => whole(text, new Set([0])).size > 0
    },
    catch: () => pattern
  })
}
