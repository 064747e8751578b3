import { Result } from "effect"
import { UnsupportedQuantization } from "../ModelReason.ts"
import { configError, SourceError } from "../SourceError.ts"

type Failing<A> = Result.Result<A, SourceError>

const isObject = (value: unknown): value is Readonly<Record<string, unknown>> =>
  typeof value === "object" && value !== null && !Array.isArray(value)

/** Characters of a value that a message quotes. */
const maxShown = 100

/** A value for a message: a text without quotes, control characters escaped. */
const show = (value: unknown): string => {
  const text = JSON.stringify(value) ?? "nothing"
  const bare = typeof value === "string" ? text.slice(1, -1) : text
  return bare.length > maxShown ? `${bare.slice(0, maxShown)}…` : bare
}

/** Untrusted settings: an object of a JSON file. `null` counts as absent. */
export class Fields {
  /** the file */
  readonly path: string
  /** where in the file: `quantization_config.config_groups` */
  readonly where: string
  readonly values: ReadonlyMap<string, unknown>

  constructor(path: string, where: string, values: object) {
    this.path = path
    this.where = where
    this.values = new Map(Object.entries(values).filter(([, value]) => value !== null))
  }

  has(key: string): boolean {
    return this.values.has(key)
  }

  /** The failure of a key that has an impossible value. */
  wrong(key: string, expected: string): Failing<never> {
    const path = `${this.where}.${key}`
    return Result.fail(
      configError(this.path, [{ path, expected, found: show(this.values.get(key)), unsupported: false }])
    )
  }

  /** The failure of a value that is not read; `setting` is the words for the key. */
  unsupported(key: string, setting: string, supported: ReadonlyArray<string>): Failing<never> {
    const found = show(this.values.get(key))
    const reason = new UnsupportedQuantization({ where: `${this.where}.${key}`, setting, found, supported, advice: "" })
    return Result.fail(new SourceError({ path: this.path, reason }))
  }

  text(key: string): Failing<string | undefined> {
    const value = this.values.get(key)
    return value === undefined || typeof value === "string" ? Result.succeed(value) : this.wrong(key, "a text")
  }

  flag(key: string): Failing<boolean | undefined> {
    const value = this.values.get(key)
    return value === undefined || typeof value === "boolean"
      ? Result.succeed(value)
      : this.wrong(key, "true or false")
  }

  int(key: string): Failing<number | undefined> {
    const value = this.values.get(key)
    return value === undefined || typeof value === "number" && Number.isSafeInteger(value)
      ? Result.succeed(value)
      : this.wrong(key, "a whole number")
  }

  /** The texts of a list; none where there is none. */
  texts(key: string): Failing<ReadonlyArray<string>> {
    const value = this.values.get(key) ?? []
    return Array.isArray(value) && value.every((item) => typeof item === "string")
      ? Result.succeed(value)
      : this.wrong(key, "a list of texts")
  }

  /** An object in the object. */
  fields(key: string): Failing<Fields | undefined> {
    const value = this.values.get(key)
    if (value === undefined) return Result.succeed(undefined)
    return isObject(value)
      ? Result.succeed(new Fields(this.path, `${this.where}.${key}`, value))
      : this.wrong(key, "an object")
  }

  /** One of these texts, in any case of letters; `setting` is the words for the key. */
  choice<const A extends string>(key: string, setting: string, supported: ReadonlyArray<A>): Failing<A | undefined> {
    return Result.flatMap(this.text(key), (text) => {
      const found = supported.find((one) => one === text?.toLowerCase())
      return text === undefined || found !== undefined
        ? Result.succeed(found)
        : this.unsupported(key, setting, supported)
    })
  }

  /** Bits of a code. */
  bits<const A extends 4 | 8>(key: string, setting: string, supported: ReadonlyArray<A>): Failing<A> {
    return Result.flatMap(this.int(key), (bits) => {
      const found = supported.find((one) => one === bits)
      if (bits === undefined) return this.wrong(key, supported.join(" or "))
      return found === undefined ? this.unsupported(key, setting, supported.map(String)) : Result.succeed(found)
    })
  }

  /** Columns that share a scale: a positive number, or -1 for a whole row. */
  groupSize(key: string): Failing<number | "channel" | undefined> {
    return Result.flatMap(this.int(key), (size): Failing<number | "channel" | undefined> => {
      if (size === undefined || size > 0) return Result.succeed(size)
      return size === -1
        ? Result.succeed("channel")
        : this.wrong(key, "a positive number of columns, or -1 for a whole row")
    })
  }
}
