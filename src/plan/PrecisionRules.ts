import { Result } from "effect"
import { type Part, parts, type Program } from "./Parts.ts"
import { PrecisionError } from "./PrecisionError.ts"

/** Rules read from a file: what they say of a program, to be checked like the answer of a Python file. */
export interface Rules {
  readonly choose: (program: Program) => unknown
}

interface Rule {
  readonly parts: ReadonlyArray<Part> | undefined
  readonly isGroup: boolean | undefined
  readonly layers: ReadonlyArray<readonly [number, number]> | undefined
  readonly choice: Readonly<Record<string, unknown>>
}

type Problem = { readonly problem: string; readonly expected: string; readonly found: string }

const conditions = ["part", "is_group", "layers"]
const consequences = ["precision", "compile", "lora"]

const isObject = (value: unknown): value is Readonly<Record<string, unknown>> =>
  typeof value === "object" && value !== null && !Array.isArray(value)

const problem = (where: string, expected: string, found: unknown) =>
  Result.fail<Problem>({ problem: `wrong ${where}`, expected, found: JSON.stringify(found) ?? "nothing" })

const readParts = (where: string, value: unknown): Result.Result<ReadonlyArray<Part> | undefined, Problem> => {
  if (value === undefined) return Result.succeed(undefined)
  const names: ReadonlyArray<unknown> = Array.isArray(value) ? value : [value]
  const known = names.map((name) => parts.find((part) => part === name))
  const named = known.filter((part) => part !== undefined)
  return named.length === names.length && named.length > 0
    ? Result.succeed(named)
    : problem(`${where}.part`, `one or a list of ${parts.join(", ")}`, value)
}

/** `"0-3,7"`: inclusive ranges of layers. */
const readLayers = (where: string, value: unknown): Result.Result<Rule["layers"], Problem> => {
  if (value === undefined) return Result.succeed(undefined)
  const wrong = problem(`${where}.layers`, `a layer, or ranges as text like "0-3,7"`, value)
  if (typeof value === "number") return Number.isInteger(value) && value >= 0 ? Result.succeed([[value, value]]) : wrong
  if (typeof value !== "string") return wrong
  const ranges = value.split(",").map((text) => /^\s*(\d+)\s*(?:-\s*(\d+)\s*)?$/.exec(text))
  const pairs = ranges.flatMap((match) =>
    match === null ? [] : [[Number(match[1]), Number(match[2] ?? match[1])] as const]
  )
  return pairs.length === ranges.length && pairs.every(([from, to]) => from <= to) ? Result.succeed(pairs) : wrong
}

const readChoice = (where: string, value: Readonly<Record<string, unknown>>, known: ReadonlyArray<string>) => {
  const unknown = Object.keys(value).find((key) => !known.includes(key))
  if (unknown !== undefined) return problem(`key in ${where}`, `one of ${known.join(", ")}`, unknown)
  const choice = Object.fromEntries(Object.entries(value).filter(([key]) => consequences.includes(key)))
  return Object.keys(choice).length === 0
    ? problem(where, `one of ${consequences.join(", ")} beside the conditions`, value)
    : Result.succeed(choice)
}

const readRule = (value: unknown, position: number): Result.Result<Rule, Problem> =>
  Result.gen(function*() {
    const where = `rules.${position}`
    if (!isObject(value)) return yield* problem(where, "an object", value)
    const choice = yield* readChoice(where, value, [...conditions, ...consequences])
    const isGroup = value["is_group"]
    if (isGroup !== undefined && typeof isGroup !== "boolean") {
      return yield* problem(`${where}.is_group`, "true or false", isGroup)
    }
    const named = yield* readParts(where, value["part"])
    const layers = yield* readLayers(where, value["layers"])
    return { parts: named, isGroup, layers, choice }
  })

const fits = (rule: Rule, { index, isGroup, part }: Program): boolean =>
  (rule.parts?.includes(part) ?? true) && (rule.isGroup ?? isGroup) === isGroup &&
  (rule.layers?.some(([from, to]) => from <= index && index <= to) ?? true)

/**
 * Reads `{"rules": [{"part", "is_group", "layers", "precision", "compile", "lora"}, …], "default": {…}}`: the first rule whose
 * conditions all hold decides; a condition that is left out holds; without a match the default does (BF16 when left out).
 */
export const readRules = (file: string, source: string): Result.Result<Rules, PrecisionError> =>
  Result.gen(function*() {
    const json = yield* Result.try({
      try: (): unknown => JSON.parse(source),
      catch: (cause) => ({ problem: "not JSON", expected: "an object with rules and default", found: String(cause) })
    })
    if (!isObject(json)) return yield* problem("file", "an object with rules and default", json)
    const extra = Object.keys(json).find((key) => key !== "rules" && key !== "default")
    if (extra !== undefined) return yield* problem("key", "rules or default", extra)
    const list: unknown = json["rules"] ?? []
    if (!Array.isArray(list)) return yield* problem("rules", "a list of rules", list)
    const rules = yield* Result.all(list.map(readRule))
    const otherwise = json["default"] ?? { precision: "BF16" }
    if (!isObject(otherwise)) return yield* problem("default", "an object", otherwise)
    const fallback = yield* readChoice("default", otherwise, consequences)
    return { choose: (program: Program) => rules.find((rule) => fits(rule, program))?.choice ?? fallback }
  }).pipe(Result.mapError((reason) => new PrecisionError({ file, ...reason })))
