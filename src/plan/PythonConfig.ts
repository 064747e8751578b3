import { Effect, Result } from "effect"
import { quoted } from "../tensor/Fault.ts"
import type { Program } from "./Parts.ts"
import { PrecisionError } from "./PrecisionError.ts"

/** The function that a configuration file must define. */
export const entry = "get_layer_configuration"

/** What is asked of a configuration file. */
export interface ConfigRun {
  readonly file: string
  readonly source: string
  /** `num_hidden_layers` */
  readonly layers: number
  readonly programs: ReadonlyArray<Program>
}

/** Bounds of one run of a configuration file in the sandbox, all calls together. */
export interface SandboxLimits {
  readonly seconds: number
  readonly bytes: number
  readonly depth: number
}

/** A call takes about 20 µs, so that 5 s is a loop without end; memory and depth are those of a small script. */
const usual: SandboxLimits = { seconds: 5, bytes: 64 * 2 ** 20, depth: 200 }

/** The two arguments of the call for one program. */
export const callArguments = (layers: number, { index, isGroup, part }: Program) =>
  [{ num_hidden_layers: layers }, { part, is_group: isGroup, index }] as const

/** A value as Python writes it, shortened to one line. */
export const pythonText = (value: unknown): string => {
  const write = (inner: unknown): string => {
    if (inner === undefined || inner === null) return "None"
    if (typeof inner === "boolean") return inner ? "True" : "False"
    if (typeof inner === "string") return JSON.stringify(inner)
    if (Array.isArray(inner)) return `[${inner.map(write).join(", ")}]`
    if (inner instanceof Set) return `{${Array.from(inner, write).join(", ")}}`
    if (typeof inner !== "object") return String(inner)
    const pairs = inner instanceof Map ? Array.from(inner) : Object.entries(inner)
    return `{${pairs.map(([key, item]) => `${write(key)}: ${write(item)}`).join(", ")}}`
  }
  const text = write(value)
  return text.length > 120 ? `${text.slice(0, 117)}...` : text
}

/** The call for one program, as in a Python file. */
export const callText = (layers: number, program: Program): string =>
  `${entry}(${callArguments(layers, program).map(pythonText).join(", ")})`

/** 1-based line on which the function is defined. */
export const definitionLine = (source: string): number | undefined => {
  const index = source.split("\n").findIndex((line) => /^\s*def\s+get_layer_configuration\b/.test(line))
  return index < 0 ? undefined : index + 1
}

/** Says how to get a real interpreter; `--python` is never chosen for the user. */
const interpreterHint =
  "the file runs in a sandbox without files, network and most modules; to run it with a real interpreter add --python python3"

// The sandbox hands us calls to names it does not know: the loop asks for arguments and gives the last answer in one.
const ask = "_llima_next_call"
const loop = `
_llima_call = ${ask}(None)
while _llima_call is not None:
    _llima_call = ${ask}(${entry}(_llima_call[0], _llima_call[1]))
`

/** Errors that come from the sandbox's limits, not from the user's code. */
const needsInterpreter = (type: string, message: string): boolean =>
  /^(NotImplementedError|ModuleNotFoundError|ImportError|PermissionError)$/.test(type) ||
  message.includes("has no attribute") || message.includes("not supported in this environment") ||
  message.includes("Internal error in monty") || message.includes("unsupported operand type(s) for %")

interface Fault {
  readonly type: string
  readonly message: string
  readonly lines: ReadonlyArray<number>
}

const describe = (
  fault: Fault,
  limits: SandboxLimits
): { readonly problem: string; readonly advice: string | undefined } => {
  if (fault.type === "TimeoutError") {
    return { problem: `took longer than ${limits.seconds} s`, advice: "look for a loop that does not end" }
  }
  if (fault.type === "MemoryError") {
    return { problem: `used more than ${Math.round(limits.bytes / 2 ** 20)} MiB`, advice: undefined }
  }
  const message = quoted(fault.message)
    .replace("The monty syntax parser does not yet support ", "the sandbox does not know ")
    .replace(/Internal error in monty: .*/, "this is not known to the sandbox")
  return {
    problem: fault.type === "NotImplementedError" ? message : `${fault.type}: ${message}`,
    advice: needsInterpreter(fault.type, fault.message) ? interpreterHint : undefined
  }
}

/**
 * Runs the file once in `@pydantic/monty` (no files, network or processes; bounded time, memory and depth) and calls its function
 * for every program, in order. What it prints goes to the log. Answers are unchecked: dictionaries are Maps.
 */
export const runSandboxed = Effect.fn("PythonConfig.runSandboxed")(function*(
  { file, layers, programs, source }: ConfigRun,
  limits: SandboxLimits = usual
): Effect.fn.Return<ReadonlyArray<unknown>, PrecisionError> {
  // 19 MB of native code: only loaded for those who have a configuration file.
  const monty = yield* Effect.tryPromise({
    try: () => import("@pydantic/monty"),
    catch: (cause) =>
      new PrecisionError({
        file,
        problem: "the sandbox for configuration files cannot be loaded on this machine",
        found: quoted(String(cause)),
        advice: "add --python python3 to run the file with a real interpreter"
      })
  })
  const userLines = source.split("\n")
  const readFault = (error: unknown): Fault => {
    if (error instanceof monty.MontyRuntimeError) {
      const lines = error.traceback().map(({ line }) => line).filter((line) => line <= userLines.length)
      return { type: error.exception.typeName, message: error.exception.message, lines }
    }
    if (error instanceof monty.MontyError) {
      return { type: error.exception.typeName, message: error.exception.message, lines: [] }
    }
    return { type: "RuntimeError", message: String(error), lines: [] }
  }
  // A syntax error has no line until a session meets it; parsing fails before anything runs.
  const located = (error: unknown): Fault => {
    if (!(error instanceof monty.MontySyntaxError)) return readFault(error)
    const again = Result.try({
      try: () => new monty.MontyRepl({ limits: { maxDurationSecs: limits.seconds } }).feed(source),
      catch: readFault
    })
    return Result.isFailure(again) ? again.failure : readFault(error)
  }

  const answers: Array<unknown> = []
  const printed: Array<string> = []
  let asked = 0
  const run = Effect.try({
    try: () => {
      // Annotations need nothing of the future here; the line stays, so that numbers of lines do.
      const script = new monty.Monty(`${source.replaceAll(/^from __future__ import .*$/gm, "")}\n${loop}`, {
        scriptName: file,
        inputs: ["__name__"]
      })
      let state = script.start({
        inputs: { __name__: "llima_config" },
        limits: { maxDurationSecs: limits.seconds, maxMemory: limits.bytes, maxRecursionDepth: limits.depth },
        printCallback: (_stream: string, text: string) => {
          printed.push(text)
        }
      })
      while (!(state instanceof monty.MontyComplete)) {
        if (state instanceof monty.MontyNameLookup) {
          state = state.resume()
        } else if (state.functionName === ask) {
          if (asked > 0) answers.push(state.args[0])
          const program = programs[asked++]
          state = state.resume({ returnValue: program === undefined ? null : [...callArguments(layers, program)] })
        } else {
          state = state.resume({
            exception: { type: "NameError", message: `name '${state.functionName}' is not defined` }
          })
        }
      }
    },
    catch: (error) => {
      const fault = located(error)
      const { advice, problem } = describe(fault, limits)
      const line = fault.lines.at(-1)
      const program = asked === 0 ? undefined : programs[asked - 1]
      const undefinedEntry = fault.message === `name '${entry}' is not defined`
      return new PrecisionError({
        file,
        line: undefinedEntry ? undefined : line,
        source: line === undefined ? undefined : userLines[line - 1],
        call: program === undefined || undefinedEntry ? undefined : callText(layers, program),
        problem: undefinedEntry ? `defines no ${entry}(model_properties, layer)` : problem,
        advice
      })
    }
  })
  yield* Effect.onExit(run, () => {
    const text = printed.join("").trimEnd()
    return text === "" ? Effect.void : Effect.forEach(text.split("\n"), (line) => Effect.logInfo(`${file}: ${line}`))
  })
  return answers
})
