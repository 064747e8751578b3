import { Result } from "effect"
import { parse } from "../source/Json.ts"
import { numberRanges, type Part, parts, type Program } from "./Parts.ts"
import type { Choice, ChoiceFault, PrecisionAnswer } from "./Precision.ts"
import { PrecisionError } from "./PrecisionError.ts"

/** Inclusive. */
type Range = readonly [from: number, to: number]

/** What a rule says, of which programs; a condition that is left out holds. */
interface Rule {
  readonly parts: ReadonlyArray<Part> | undefined
  readonly isGroup: boolean | undefined
  readonly layers: ReadonlyArray<Range> | undefined
  readonly choice: Choice
}

/** Rules of a file, every one of them checked; `otherwise` decides where none fits. */
export interface Rules {
  readonly rules: ReadonlyArray<Rule>
  readonly otherwise: Choice
}

/** Reads precision, compile and lora of an object that has no other key. */
type ReadChoice = (value: Readonly<Record<string, unknown>>) => Result.Result<Choice, ChoiceFault>

const conditions = ["part", "is_group", "layers"]
const consequences = ["precision", "compile", "lora"]

/** Characters of a value, or of a line, that an error quotes. */
const maxQuote = 120

/** A value as JSON, shortened. */
export const jsonText = (value: unknown): string => {
  const text = JSON.stringify(value) ?? "nothing"
  return text.length > maxQuote ? `${text.slice(0, maxQuote - 3)}...` : text
}

const isObject = (value: unknown): value is Readonly<Record<string, unknown>> =>
  typeof value === "object" && value !== null && !Array.isArray(value)

const fault = (problem: string, expected: string, found: unknown) =>
  Result.fail<ChoiceFault>({ problem, expected, found: jsonText(found) })

const quoted = (keys: ReadonlyArray<string>): string => keys.map((key) => `"${key}"`).join(", ")

const readParts = (where: string, value: unknown): Result.Result<Rule["parts"], ChoiceFault> => {
  if (value === undefined) return Result.succeed(undefined)
  const names: ReadonlyArray<unknown> = Array.isArray(value) ? value : [value]
  const known = names.map((name) => parts.find((part) => part === name))
  const named = known.filter((part) => part !== undefined)
  return named.length === names.length && named.length > 0
    ? Result.succeed(named)
    : fault(`wrong "part" in ${where}`, `one of ${quoted(parts)}, or a list of them`, value)
}

/** `"0-3,7"`: inclusive ranges of layers. */
const readLayers = (where: string, value: unknown): Result.Result<Rule["layers"], ChoiceFault> => {
  if (value === undefined) return Result.succeed(undefined)
  const wrong = fault(`wrong "layers" in ${where}`, `a layer, or ranges as text like "0-3,7"`, value)
  if (typeof value === "number") return Number.isInteger(value) && value >= 0 ? Result.succeed([[value, value]]) : wrong
  if (typeof value !== "string") return wrong
  const ranges = value.split(",").map((text) => /^\s*(\d+)\s*(?:-\s*(\d+)\s*)?$/.exec(text))
  const pairs = ranges.flatMap((match): ReadonlyArray<Range> =>
    match === null ? [] : [[Number(match[1]), Number(match[2] ?? match[1])]]
  )
  if (pairs.length < ranges.length) return wrong
  const [reversed] = pairs.filter(([from, to]) => from > to)
  return reversed === undefined
    ? Result.succeed(pairs)
    : fault(`a reversed range in "layers" of ${where}`, jsonText(`${reversed[1]}-${reversed[0]}`), value)
}

/** What an object says of programs, which `known` keys may stand beside. */
const readConsequences = (
  where: string,
  value: unknown,
  known: ReadonlyArray<string>,
  readChoice: ReadChoice
): Result.Result<Choice, ChoiceFault> => {
  if (!isObject(value)) return fault(`${where} is no object`, `an object with ${quoted(consequences)}`, value)
  const unknown = Object.keys(value).find((key) => !known.includes(key) && !consequences.includes(key))
  if (unknown !== undefined) {
    return fault(`unknown key in ${where}`, `one of ${quoted([...known, ...consequences])}`, unknown)
  }
  const said = Object.fromEntries(Object.entries(value).filter(([key]) => consequences.includes(key)))
  return Result.mapError(readChoice(said), ({ problem, ...rest }) => ({ ...rest, problem: `${problem} in ${where}` }))
}

/** `position` counts from 0; users count from 1. */
const readRule = (value: unknown, position: number, readChoice: ReadChoice): Result.Result<Rule, ChoiceFault> =>
  Result.gen(function*() {
    const where = `rule ${position + 1}`
    const choice = yield* readConsequences(where, value, conditions, readChoice)
    const when = isObject(value) ? value : {}
    const isGroup = when["is_group"]
    if (isGroup !== undefined && typeof isGroup !== "boolean") {
      return yield* fault(`wrong "is_group" in ${where}`, "true or false", isGroup)
    }
    const named = yield* readParts(where, when["part"])
    const layers = yield* readLayers(where, when["layers"])
    return { parts: named, isGroup, layers, choice }
  })

const readFile = (json: unknown, readChoice: ReadChoice): Result.Result<Rules, ChoiceFault> =>
  Result.gen(function*() {
    const expected = `an object with "rules" and "default"`
    if (!isObject(json)) return yield* fault("the file is no object", expected, json)
    const extra = Object.keys(json).find((key) => key !== "rules" && key !== "default")
    if (extra !== undefined) return yield* fault("unknown key", `"rules" or "default"`, extra)
    const list = json["rules"] === undefined ? [] : json["rules"]
    if (!Array.isArray(list)) return yield* fault(`wrong "rules"`, "a list of rules", list)
    const rules = yield* Result.all(list.map((value, position) => readRule(value, position, readChoice)))
    const standing = json["default"] === undefined ? { precision: "BF16" } : json["default"]
    return { rules, otherwise: yield* readConsequences(`"default"`, standing, [], readChoice) }
  })

const readJson = (file: string, source: string): Result.Result<unknown, PrecisionError> =>
  Result.mapError(parse(source), ({ column, line, problem }) => {
    const text = source.split("\n")[line - 1] ?? ""
    const before = source.split("\n").slice(0, line - 1).concat(text.slice(0, column - 1)).join("\n")
    return new PrecisionError({
      file,
      line,
      column,
      source: text.length > maxQuote ? undefined : text,
      problem: `not sound JSON: ${problem}`,
      advice: /,\s*$/.test(before) && /^[\]}]/.test(text.slice(column - 1))
        ? "JSON has no comma after the last of a list or an object"
        : undefined
    })
  })

/**
 * Reads `{"rules": [{"part", "is_group", "layers", "precision", "compile", "lora"}, …], "default": {…}}` and checks all of it:
 * the first rule whose conditions all hold decides; a condition that is left out holds; without a match the default does (BF16
 * when left out).
 */
export const readRules = (
  file: string,
  source: string,
  readChoice: ReadChoice
): Result.Result<Rules, PrecisionError> =>
  Result.flatMap(
    readJson(file, source),
    (json) => Result.mapError(readFile(json, readChoice), (reason) => new PrecisionError({ file, ...reason }))
  )

const fits = (rule: Rule, { index, isGroup, part }: Program): boolean =>
  (rule.parts?.includes(part) ?? true) && (rule.isGroup ?? isGroup) === isGroup &&
  (rule.layers?.some(([from, to]) => from <= index && index <= to) ?? true)

const rangesText = (ranges: ReadonlyArray<Range>): string =>
  ranges.map(([from, to]) => from === to ? `${from}` : `${from}-${to}`).join(", ")

/** Why no program of the model fits a rule. */
const misfit = (rule: Rule, programs: ReadonlyArray<Program>): string => {
  const absent = rule.parts?.filter((part) => !programs.some((program) => program.part === part)) ?? []
  return absent.length > 0 && absent.length === rule.parts?.length
    ? `the model has no ${absent.join(", ")}`
    : "no program of the model fits all of its conditions"
}

/** What a rule at `position` asks for in vain; `deciding` is the position of the rule that decides each program, -1 for none. */
const vanity = (
  rule: Rule,
  position: number,
  programs: ReadonlyArray<Program>,
  layers: number,
  deciding: ReadonlyArray<number>
): string | undefined => {
  const name = `rule ${position + 1} of the configuration file`
  const beyond = rule.layers?.filter(([from]) => from >= layers) ?? []
  const limits = `the model has ${layers === 1 ? "layer 0" : `layers 0-${layers - 1}`} only, not ${rangesText(beyond)}`
  const fitting = programs.flatMap((program, i) => fits(rule, program) ? [deciding[i] ?? -1] : [])
  if (fitting.length === 0) {
    const isBeyond = beyond.length > 0 && beyond.length === rule.layers?.length
    return `${name} has no effect: ${isBeyond ? limits : misfit(rule, programs)}`
  }
  if (!fitting.includes(position)) {
    const earlier = [...new Set(fitting)].sort((a, b) => a - b).map((one) => one + 1)
    const [subject, verb] = earlier.length === 1 ? ["rule", "decides"] : ["rules", "decide"]
    return `${name} has no effect: ${subject} ${numberRanges(earlier)} before it ${verb} for all of its programs`
  }
  return beyond.length > 0 ? `${name}: ${limits}` : undefined
}

/** What rules say of every program, with a warning for each rule that asks for something in vain. `layers`: `num_hidden_layers`. */
export const applyRules = (
  { otherwise, rules }: Rules,
  layers: number,
  programs: ReadonlyArray<Program>
): PrecisionAnswer => {
  const deciding = programs.map((program) => rules.findIndex((rule) => fits(rule, program)))
  return {
    table: programs.map((program, i) => ({ program, choice: rules[deciding[i] ?? -1]?.choice ?? otherwise })),
    warnings: rules.flatMap((rule, position) => vanity(rule, position, programs, layers, deciding) ?? [])
  }
}
