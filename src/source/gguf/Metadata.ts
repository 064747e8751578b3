import { Result } from "effect"
import { HeaderInvalid } from "../FileReason.ts"
import { ConfigUnsupported } from "../ModelReason.ts"
import { numberBytes, numberReader, type Problem, textAt, textsFrom } from "./Cursor.ts"
import type { Header, Value } from "./Header.ts"

/** What reading a part of the metadata gives. */
export type Read<A> = Result.Result<A, Problem>

const FLOAT32 = 6
const FLOATS: ReadonlySet<number> = new Set([FLOAT32, 12])
const TEXT = 8

/** A fact of the file at `where` (a key, a tensor) that is wrong. */
export const wrong = (where: string, expected: string, found: string) =>
  Result.fail(new HeaderInvalid({ tensor: where, expected, found }))

/** A fact of the file at `where` that is sound and not built. */
export const unsupported = (where: string, expected: string, found: string) =>
  Result.fail(new ConfigUnsupported({ problems: [`${where}: expected ${expected}, found ${found}`] }))

/** A text as errors show it. */
export const quote = (text: string): string => JSON.stringify(text.length > 60 ? `${text.slice(0, 60)}…` : text)

/** The shortest decimal number that is this one in f32, as configurations have it: 1e-5, not 0.000009999999747378752. */
const shortest = (value: number): number => {
  const short = Number(value.toPrecision(7))
  return Math.fround(short) === value ? short : value
}

/** The longest chat templates have 30 kB. */
const MOST_TEXT_BYTES = 2 ** 20

/** The texts of a list, which stay bytes until they are gone through. */
export interface Texts extends Iterable<string | undefined> {
  readonly count: number
}

/** Reads metadata by key; a value of another kind than asked for is an error that names the key. */
export class Metadata {
  readonly header: Header

  constructor(header: Header) {
    this.header = header
  }

  has(key: string): boolean {
    return this.header.values.has(key)
  }

  #show(value: Value): string {
    if (value.kind === "number" || value.kind === "bool") return `${value.value}`
    if (value.kind === "list") return `an array of ${value.count}`
    const { end, start } = value
    if (end - start > MOST_TEXT_BYTES) return `a string of ${end - start} bytes`
    return `the string ${quote(textAt(this.header.bytes, start, end) ?? "(not UTF-8)")}`
  }

  /** What `read` makes of the value; undefined where the key is absent, an error that asks for `expected` where it gives nothing. */
  #optional<A>(key: string, expected: string, read: (value: Value) => A | undefined): Read<A | undefined> {
    const value = this.header.values.get(key)
    if (value === undefined) return Result.succeed(undefined)
    const found = read(value)
    return found === undefined ? wrong(key, expected, this.#show(value)) : Result.succeed(found)
  }

  text(key: string): Read<string | undefined> {
    return this.#optional(
      key,
      `a string of UTF-8, of at most ${MOST_TEXT_BYTES} bytes`,
      (value) =>
        value.kind === "text" && value.end - value.start <= MOST_TEXT_BYTES
          ? textAt(this.header.bytes, value.start, value.end)
          : undefined
    )
  }

  bool(key: string): Read<boolean | undefined> {
    return this.#optional(key, "a bool", (value) => value.kind === "bool" ? value.value : undefined)
  }

  /** A whole number of at least `least`. */
  integer(key: string, least = 1): Read<number | undefined> {
    return this.#optional(key, `an integer of at least ${least}`, (value) => {
      if (value.kind !== "number" || FLOATS.has(value.type)) return undefined
      const number = Number(value.value)
      return number >= least && Number.isSafeInteger(number) ? number : undefined
    })
  }

  /** A finite number above 0. */
  positive(key: string): Read<number | undefined> {
    return this.#optional(key, "a number above 0", (value) => {
      const number = value.kind === "number" ? Number(value.value) : Number.NaN
      if (!(Number.isFinite(number) && number > 0)) return undefined
      return value.kind === "number" && value.type === FLOAT32 ? shortest(number) : number
    })
  }

  /** A required value: `read` gives undefined where the key is absent. */
  required<A>(key: string, expected: string, read: Read<A | undefined>): Read<A> {
    return Result.flatMap(
      read,
      (value) => value === undefined ? wrong(key, expected, "no such key") : Result.succeed(value)
    )
  }

  /** A list of at most `most` texts, decoded as they are asked for, each time anew; undefined for one that is no UTF-8. */
  texts(key: string, most: number): Read<Texts | undefined> {
    const { bytes, values } = this.header
    const value = values.get(key)
    if (value === undefined) return Result.succeed(undefined)
    if (value.kind !== "list" || value.type !== TEXT) return wrong(key, "an array of strings", this.#show(value))
    if (value.count > most) return wrong(key, `at most ${most} strings`, this.#show(value))
    const { count, start } = value
    return Result.succeed({ count, [Symbol.iterator]: () => textsFrom(bytes, start, count) })
  }

  /** A list of `count` finite numbers. */
  numbers(key: string, count: number): Read<Float64Array | undefined> {
    const { bytes, values } = this.header
    const value = values.get(key)
    if (value === undefined) return Result.succeed(undefined)
    const each = value.kind === "list" ? numberBytes(value.type) : undefined
    const read = value.kind === "list" ? numberReader(bytes, value.type) : undefined
    if (value.kind !== "list" || each === undefined || read === undefined) {
      return wrong(key, "an array of numbers", this.#show(value))
    }
    if (value.count !== count) return wrong(key, `an array of ${count}, as there are tokens`, this.#show(value))
    const items = new Float64Array(count)
    for (let index = 0; index < count; index++) {
      const number = Number(read(value.start + index * each))
      if (!Number.isFinite(number)) return wrong(`${key}[${index}]`, "a finite number", `${number}`)
      items[index] = number
    }
    return Result.succeed(items)
  }
}
