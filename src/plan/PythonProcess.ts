import { Duration, Effect, Schema, Stream } from "effect"
import { ChildProcess } from "effect/process"
import { ChildProcessSpawner } from "effect/process/ChildProcessSpawner"
import { faultOf, quoted } from "../tensor/Fault.ts"
import { PrecisionError } from "./PrecisionError.ts"
import { callArguments, callText, type ConfigRun, entry } from "./PythonConfig.ts"

/** Reads calls from stdin, one JSON line each, and answers with one line; what the user's file prints goes to stderr. */
const runner = `
import json, os, sys, traceback
out = os.fdopen(os.dup(1), "w")
os.dup2(2, 1)
path = sys.argv[1]
calling = False
def send(answer):
    out.write(json.dumps(answer, default=repr) + "\\n")
    out.flush()
try:
    with open(path, "rb") as file:
        code = compile(file.read(), path, "exec")
    scope = {"__name__": "llima_config", "__file__": path}
    exec(code, scope)
    for line in sys.stdin:
        calling = True
        send({"value": scope["${entry}"](*json.loads(line))} if "${entry}" in scope else {"undefined": True})
except BaseException as error:
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == path]
    if isinstance(error, SyntaxError) and error.filename == path:
        lines = [error.lineno]
    send({"error": {"type": type(error).__name__, "message": str(error), "line": lines[-1] if lines else None, "calling": calling}})
`

const Answer = Schema.fromJsonString(Schema.Struct({
  value: Schema.optionalKey(Schema.Unknown),
  undefined: Schema.optionalKey(Schema.Boolean),
  error: Schema.optionalKey(
    Schema.Struct({
      type: Schema.String,
      message: Schema.String,
      line: Schema.NullOr(Schema.Int),
      /** false: the file's own code failed, before the first call */
      calling: Schema.Boolean
    })
  )
}))

/** The user's own interpreter may import big modules. */
const usual = Duration.seconds(60)

/**
 * Runs the file with a real interpreter, isolated (`-I -S`: no environment, no site-packages), one process for all calls: for
 * what the sandbox does not know. There is no sandbox: the user has asked for it by `--python`.
 */
export const runInterpreter = Effect.fn("PythonProcess.runInterpreter")(function*(
  { file, layers, programs, python, source }: ConfigRun & { readonly python: string },
  limit: Duration.Duration = usual
): Effect.fn.Return<ReadonlyArray<unknown>, PrecisionError, ChildProcessSpawner> {
  const spawner = yield* ChildProcessSpawner
  const answers: Array<unknown> = []
  const inCall = (
    facts: {
      readonly problem: string
      readonly line?: number | null
      readonly advice?: string
      readonly calling?: boolean
    }
  ) => {
    const program = facts.calling === false ? undefined : programs[answers.length]
    const line = facts.line ?? undefined
    return new PrecisionError({
      file,
      problem: facts.problem,
      line,
      source: line === undefined ? undefined : source.split("\n")[line - 1],
      call: program === undefined ? undefined : callText(layers, program),
      advice: facts.advice
    })
  }
  const take = Effect.fnUntraced(function*(text: string) {
    const answer = yield* Effect.mapError(
      Schema.decodeEffect(Answer)(text),
      () => inCall({ problem: `${python} gave an answer that is not ours: ${quoted(text)}` })
    )
    if (answer.undefined === true) {
      return yield* new PrecisionError({ file, problem: `defines no ${entry}(model_properties, layer)` })
    }
    if (answer.error !== undefined) {
      const { calling, line, message, type } = answer.error
      return yield* inCall({ problem: `${type}: ${quoted(message)}`, line, calling })
    }
    answers.push(answer.value)
  })

  const calls = programs.map((program) => `${JSON.stringify(callArguments(layers, program))}\n`).join("")
  const work = Effect.gen(function*() {
    const child = yield* spawner.spawn(ChildProcess.make(python, ["-I", "-S", "-c", runner, file], {
      stdin: Stream.encodeText(Stream.make(calls)),
      killSignal: "SIGKILL"
    }))
    yield* child.stderr.pipe(
      Stream.decodeText(),
      Stream.splitLines,
      Stream.runForEach((line) => Effect.logInfo(`${file}: ${line}`)),
      Effect.ignore,
      Effect.forkScoped
    )
    yield* child.stdout.pipe(Stream.decodeText(), Stream.splitLines, Stream.runForEach(take))
    const code = yield* child.exitCode
    if (answers.length < programs.length) {
      return yield* inCall({ problem: `${python} ended with code ${code} before it had answered` })
    }
  }).pipe(
    Effect.scoped,
    Effect.catchTag("PlatformError", (error) =>
      Effect.fail(
        new PrecisionError({
          file,
          problem: `${python} cannot be run`,
          found: faultOf(error),
          advice: "give --python the path of a Python 3 interpreter"
        })
      )),
    Effect.timeoutOrElse({
      duration: limit,
      orElse: () =>
        Effect.fail(inCall({
          problem: `took longer than ${Duration.toSeconds(limit)} s`,
          advice: "look for a loop that does not end"
        }))
    })
  )
  yield* work
  return answers
})
