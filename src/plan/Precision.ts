import { Effect, FileSystem, type PlatformError, Result } from "effect"
import type { ChildProcessSpawner } from "effect/process/ChildProcessSpawner"
import { faultOf } from "../tensor/Fault.ts"
import type { Part, Program } from "./Parts.ts"
import { PrecisionError } from "./PrecisionError.ts"
import { applyRules, jsonText, readRules } from "./PrecisionRules.ts"
import { callText, definitionLine, entry, pythonText, runSandboxed } from "./PythonConfig.ts"
import { runInterpreter } from "./PythonProcess.ts"

/** Precisions by the names of the configuration file: activations, then weights. */
export const precisions = ["BF16", "A_BF16_W_INT8", "A_BF16_W_INT4"] as const
export type Precision = (typeof precisions)[number]

export const loraModes = ["LORA_DISABLED", "LORA_BRANCH", "LORA_MERGED"] as const
export type LoraMode = (typeof loraModes)[number]

/** What the configuration file says of one program; `precision` is absent exactly when `compile` is false. */
export interface Choice {
  readonly precision: Precision | undefined
  readonly compile: boolean
  readonly lora: LoraMode
}

/** Every program with its choice, in the order of `decoderPrograms`, then VISION where the model has one. */
export type PrecisionTable = ReadonlyArray<{ readonly program: Program; readonly choice: Choice }>

/** What the configuration file says of the programs, and what it asks for in vain, one sentence each. */
export interface PrecisionAnswer {
  readonly table: PrecisionTable
  readonly warnings: ReadonlyArray<string>
}

/** Without a configuration file: BF16 everywhere. */
export const defaultChoice: Choice = { precision: "BF16", compile: true, lora: "LORA_DISABLED" }

/** The choice of one program; a program that the table lacks is not compiled. */
export const choiceOf = (table: PrecisionTable, part: Part, isGroup: boolean, index: number): Choice =>
  table.find(({ program }) => program.part === part && program.isGroup === isGroup && program.index === index)
    ?.choice ??
    { precision: undefined, compile: false, lora: "LORA_DISABLED" }

/** What is wrong with a value that should be a choice. */
export interface ChoiceFault {
  readonly problem: string
  readonly expected: string
  readonly found: string
}

/** How the language of a configuration file writes values. */
interface Notation {
  readonly text: (value: unknown) => string
  readonly yes: string
  readonly no: string
}

const python: Notation = { text: pythonText, yes: "True", no: "False" }
const json: Notation = { text: jsonText, yes: "true", no: "false" }

const choiceKeys = ["precision", "compile", "lora"]
const oneOf = <A extends string>(names: ReadonlyArray<A>, value: unknown): A | undefined =>
  names.find((name) => name === value)

/** Reads what the configuration says of one program: an object with `precision`, `compile` and `lora`, nothing else. */
export const readChoice = (value: unknown, { no, text, yes } = python): Result.Result<Choice, ChoiceFault> => {
  const fault = (problem: string, expected: string, found: unknown) =>
    Result.fail<ChoiceFault>({ problem, expected, found: text(found) })
  const keys = value instanceof Map
    ? Array.from(value.keys())
    : typeof value === "object" && value !== null && !Array.isArray(value) && !(value instanceof Set)
    ? Object.keys(value)
    : undefined
  if (keys === undefined) {
    return fault(`${entry} returned no dictionary`, `a dictionary with ${choiceKeys.join(", ")}`, value)
  }
  const unknown = keys.find((key) => !choiceKeys.includes(key))
  if (unknown !== undefined) return fault("unknown key", `one of ${choiceKeys.join(", ")}`, unknown)
  const at = (key: string): unknown =>
    value instanceof Map ? value.get(key) : Object.entries(value ?? {}).find(([name]) => name === key)?.[1]

  const compile = keys.includes("compile") ? at("compile") : true
  if (typeof compile !== "boolean") return fault("wrong \"compile\"", `${yes} or ${no}`, compile)
  const lora = keys.includes("lora") ? oneOf(loraModes, at("lora")) : "LORA_DISABLED"
  if (lora === undefined) return fault("wrong \"lora\"", `one of ${loraModes.join(", ")}`, at("lora"))
  const precision = oneOf(precisions, at("precision"))
  if (keys.includes("precision") && precision === undefined) {
    return fault("wrong \"precision\"", `one of ${precisions.join(", ")}`, at("precision"))
  }
  if (!compile) return Result.succeed({ precision: undefined, compile: false, lora })
  return precision === undefined
    ? fault("no \"precision\"", `"precision" (one of ${precisions.join(", ")}), or "compile": ${no}`, value)
    : Result.succeed({ precision, compile, lora })
}

/** A script has a few kB; what is larger is another file. */
const maxBytes = 2 ** 20

/** The configuration file's text; fails for what is none. */
const textOf = Effect.fnUntraced(function*(file: string) {
  const fs = yield* FileSystem.FileSystem
  const failed = (problem: string, advice: string) => new PrecisionError({ file, problem, advice })
  const unreadable = (error: PlatformError.PlatformError) =>
    failed(`cannot be read: ${faultOf(error)}`, "give the path of a Python or .json file that may be read")
  const kind = file.endsWith(".json") ? "JSON" : "Python"
  const other = `give the file that defines ${kind === "JSON" ? "the rules" : entry}`
  const { size, type } = yield* Effect.mapError(fs.stat(file), unreadable)
  // a pipe is what a shell's <(…) gives
  if (type !== "File" && type !== "FIFO") {
    return yield* failed(`not a ${kind} file, but a ${type === "Directory" ? "folder" : type}`, other)
  }
  if (size > maxBytes) return yield* failed(`not a ${kind} file: it has ${size} bytes, more than ${maxBytes}`, other)
  const bytes = yield* Effect.mapError(fs.readFile(file), unreadable)
  return yield* Effect.try({
    try: () => {
      // fatal: throws for what is not UTF-8
      const text = new TextDecoder("utf-8", { fatal: true }).decode(bytes)
      if (text.includes("\0")) throw new Error("NUL")
      return text
    },
    catch: () => failed(`not a ${kind} file: it is not text`, other)
  })
})

/** The part of a request that decides precision. */
export interface PrecisionSource {
  readonly configurationFile?: string | undefined
  readonly python?: string | undefined
}

/**
 * Asks the configuration file about every program, before any work: `.json` files as rules, others as Python, in the sandbox or
 * by the interpreter that the request names. Fails with the first wrong answer. `layers` is the model's `num_hidden_layers`.
 */
export const evaluate = Effect.fn("Precision.evaluate")(function*(
  { configurationFile, python: interpreter }: PrecisionSource,
  layers: number,
  programs: ReadonlyArray<Program>
): Effect.fn.Return<PrecisionAnswer, PrecisionError, FileSystem.FileSystem | ChildProcessSpawner> {
  if (configurationFile === undefined) {
    return { table: programs.map((program) => ({ program, choice: defaultChoice })), warnings: [] }
  }
  const file = configurationFile
  const source = yield* textOf(file)
  if (/\.json$/i.test(file)) {
    const rules = yield* Effect.fromResult(readRules(file, source, (value) => readChoice(value, json)))
    return applyRules(rules, layers, programs)
  }
  const values = yield* interpreter === undefined
    ? runSandboxed({ file, source, layers, programs })
    : runInterpreter({ file, source, layers, programs, python: interpreter })
  const line = definitionLine(source)
  const table = yield* Effect.forEach(programs, (program, position) =>
    Effect.map(
      checked(values[position], { file, line, call: callText(layers, program) }),
      (choice) => ({ program, choice })
    ))
  return { table, warnings: [] }
})

const checked = (
  value: unknown,
  where: { readonly file: string; readonly line: number | undefined; readonly call: string }
): Effect.Effect<Choice, PrecisionError> =>
  Effect.fromResult(Result.mapError(readChoice(value), (reason) => new PrecisionError({ ...where, ...reason })))

/** A layer's part whose prefill and decode programs differ in precision, so that they cannot share weights. */
export interface SharingConflict {
  readonly index: number
  readonly part: Part
  readonly group: Precision
  readonly single: Precision
}

/** Where `--enable_filter_sharing` has no effect; CACHE has no weights and never conflicts. */
export const sharingConflicts = (table: PrecisionTable): ReadonlyArray<SharingConflict> =>
  table.flatMap(({ choice, program: { index, isGroup, part } }) => {
    if (!isGroup || (part !== "PRE" && part !== "POST" && part !== "CONV")) return []
    const single = choiceOf(table, part, false, index).precision
    return choice.precision === undefined || single === undefined || choice.precision === single
      ? []
      : [{ index, part, group: choice.precision, single }]
  })
