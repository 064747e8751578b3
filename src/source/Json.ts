import { Result } from "effect"

/** Where and why a text is not JSON that we take; `line` and `column` count from 1 (columns in UTF-16 units). */
export interface JsonProblem {
  readonly line: number
  readonly column: number
  readonly problem: string
}

/**
 * Which numbers are taken: "whole" integers only; "json" what the standard has; "python" also NaN, Infinity and -Infinity,
 * which Python writes and Hugging Face configurations hold.
 */
export type Numbers = "whole" | "json" | "python"

/** Levels of arrays and objects; configurations have less than ten. */
const maxDepth = 64

/** Characters of a value that an error quotes. */
const maxQuote = 60

const numberPattern = /-?(?:0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?/y
const pythonPattern = /NaN|-?Infinity/y
// everything from the space upwards, without the quote and the backslash
const plainPattern = /[ !#-[\]-\uffff]*/y
const hexPattern = /[0-9a-fA-F]{4}/y
const spacePattern = /[ \t\n\r]*/y

const escapes: Readonly<Record<string, string>> = {
  "\"": "\"",
  "\\": "\\",
  "/": "/",
  b: "\b",
  f: "\f",
  n: "\n",
  r: "\r",
  t: "\t"
}

const quote = (value: unknown): string => {
  const text = JSON.stringify(value)
  return text.length > maxQuote ? `${text.slice(0, maxQuote)}…` : text
}

/** A cursor over the text; `problem` is set at the first failure, and everything then returns at once. */
class Cursor {
  at = 0
  problem: { readonly at: number; readonly text: string } | undefined = undefined
  readonly text: string
  readonly numbers: Numbers

  constructor(text: string, numbers: Numbers) {
    this.text = text
    this.numbers = numbers
  }

  fail(text: string, at = this.at): undefined {
    this.problem ??= { at, text }
    return undefined
  }

  /** What `pattern` (sticky) matches here, or undefined; the cursor moves past it. */
  take(pattern: RegExp): RegExpExecArray | undefined {
    pattern.lastIndex = this.at
    const match = pattern.exec(this.text) ?? undefined
    if (match !== undefined) this.at += match[0].length
    return match
  }

  skip(token: string): boolean {
    const found = this.text.startsWith(token, this.at)
    if (found) this.at += token.length
    return found
  }

  space(): void {
    this.take(spacePattern)
  }

  unexpected(expected: string): undefined {
    const found = this.at >= this.text.length
      ? "the end"
      : quote(String.fromCodePoint(this.text.codePointAt(this.at) ?? 0))
    return this.fail(`expected ${expected}, found ${found}`)
  }

  value(depth: number): unknown {
    if (depth > maxDepth) return this.fail(`more than ${maxDepth} levels`)
    const first = this.text[this.at]
    if (first === "{") return this.object(depth)
    if (first === "[") return this.array(depth)
    if (first === "\"") return this.string()
    if (this.skip("true")) return true
    if (this.skip("false")) return false
    if (this.skip("null")) return null
    return this.number()
  }

  number(): number | undefined {
    const start = this.at
    const special = this.numbers === "python" ? this.take(pythonPattern) : undefined
    if (special !== undefined) return Number(special[0])
    const match = this.take(numberPattern)
    if (match === undefined) return this.unexpected("a value")
    if (this.numbers === "whole" && (match[1] !== undefined || match[2] !== undefined || match[0] === "-0")) {
      return this.fail(`expected a whole number, found ${match[0].slice(0, maxQuote)}`, start)
    }
    const value = Number(match[0])
    return Number.isFinite(value) ? value : this.fail(`the number ${match[0].slice(0, maxQuote)} is too large`, start)
  }

  string(): string | undefined {
    const start = this.at++
    let text = ""
    while (this.problem === undefined) {
      text += this.take(plainPattern)?.[0] ?? ""
      if (this.skip("\"")) {
        return text.isWellFormed() ? text : this.fail("a string holds half of a surrogate pair", start)
      }
      if (!this.skip("\\")) return this.unexpected("the string's closing quote")
      text += this.escape() ?? ""
    }
    return undefined
  }

  escape(): string | undefined {
    if (this.skip("u")) {
      const match = this.take(hexPattern)
      return match === undefined
        ? this.unexpected("four hexadecimal digits")
        : String.fromCharCode(Number(`0x${match[0]}`))
    }
    const plain = escapes[this.text[this.at] ?? ""]
    if (plain === undefined) return this.unexpected("an escape such as \\n")
    this.at++
    return plain
  }

  array(depth: number): ReadonlyArray<unknown> | undefined {
    this.at++
    const items: Array<unknown> = []
    this.space()
    if (this.skip("]")) return items
    while (this.problem === undefined) {
      items.push(this.value(depth + 1))
      this.space()
      if (this.problem !== undefined || this.skip("]")) return items
      if (!this.skip(",")) return this.unexpected("\",\" or \"]\"")
      this.space()
    }
    return undefined
  }

  object(depth: number): Readonly<Record<string, unknown>> | undefined {
    this.at++
    const members: Record<string, unknown> = {}
    this.space()
    if (this.skip("}")) return members
    while (this.problem === undefined) {
      const start = this.at
      if (this.text[this.at] !== "\"") return this.unexpected("a key in quotes")
      const key = this.string()
      this.space()
      if (key === undefined || this.problem !== undefined) return undefined
      if (!this.skip(":")) return this.unexpected("\":\"")
      this.space()
      const value = this.value(depth + 1)
      if (this.problem !== undefined) return undefined
      if (Object.hasOwn(members, key)) {
        return this.fail(
          `the key ${quote(key)} is there twice, with ${quote(members[key])} and then with ${quote(value)}`,
          start
        )
      }
      if (key === "__proto__") {
        // an assignment would set the prototype, and the key would vanish
        Object.defineProperty(members, key, { value, enumerable: true, configurable: true, writable: true })
      } else {
        members[key] = value
      }
      this.space()
      if (this.skip("}")) return members
      if (!this.skip(",")) return this.unexpected("\",\" or \"}\"")
      this.space()
    }
    return undefined
  }
}

/** Reads JSON strictly (RFC 8259): each key once, no trailing text, at most 64 levels. Never throws. */
export const parse = (text: string, numbers: Numbers = "json"): Result.Result<unknown, JsonProblem> => {
  const cursor = new Cursor(text, numbers)
  cursor.space()
  const value = cursor.value(1)
  cursor.space()
  if (cursor.problem === undefined && cursor.at < text.length) cursor.unexpected("the end")
  if (cursor.problem === undefined) return Result.succeed(value)
  const before = text.slice(0, cursor.problem.at)
  return Result.fail({
    line: before.split("\n").length,
    column: before.length - before.lastIndexOf("\n"),
    problem: cursor.problem.text
  })
}
