import { Effect, FileSystem, Result, Schema } from "effect"
import { InputInvalid } from "./InputInvalid.ts"

const isId = Schema.is(Schema.Int.check(Schema.isGreaterThanOrEqualTo(0)))

const kind = (value: unknown): string =>
  typeof value === "number" || value === null
    ? `${value}`
    : Array.isArray(value)
    ? "an array"
    : typeof value === "object"
    ? "an object"
    : `a ${typeof value}`

/** V8's words for what is wrong with the text, in one line; an end that comes too soon has its position. */
const syntax = (text: string) => (cause: unknown): string => {
  const message = cause instanceof Error ? cause.message.replaceAll(/\s+/g, " ") : ""
  const early = message.includes("end of JSON input") || message.includes(`at position ${text.length}`)
  return `no JSON: ${early ? `unexpected end at ${text.length}` : message}`
}

/** The token ids of a JSON array, or what is there instead. */
export const idsOf = (text: string): Result.Result<ReadonlyArray<number>, string> =>
  Result.flatMap(
    Result.try({ try: (): unknown => JSON.parse(text), catch: syntax(text) }),
    (value) => {
      if (!Array.isArray(value)) return Result.fail(kind(value))
      const wrong = value.findIndex((id) => !isId(id))
      return wrong < 0 ? Result.succeed(value.filter(isId)) : Result.fail(`${kind(value[wrong])} at [${wrong}]`)
    }
  )

/** The token ids that a file has. */
export const readIds = Effect.fnUntraced(function*(file: string) {
  const fs = yield* FileSystem.FileSystem
  const invalid = (found: string) => new InputInvalid({ path: file, expected: "a JSON array of token ids", found })
  const text = yield* Effect.mapError(
    fs.readFileString(file),
    ({ message, reason }) => invalid(reason._tag === "NotFound" ? "no such file" : message)
  )
  return yield* Effect.mapError(Effect.fromResult(idsOf(text)), invalid)
})
