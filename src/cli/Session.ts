import { Cause, Console, Context, Data, Effect, Exit, Layer, Logger, References, Runtime } from "effect"
import { CliError } from "effect/cli"
import { Progress } from "../stage/Progress.ts"
import { layerLive, layerLogged, layerPlain } from "./ProgressDisplay.ts"
import { Screen } from "./Screen.ts"

/** How a command talks; the values of `logFlags`. */
export interface SessionOptions {
  readonly logLevel: "Debug" | "Info" | "Warn" | "Error"
  readonly logFormat: "text" | "json"
}

/** A failure that the user has been told of: only its exit code is left to say. */
export class Told extends Data.TaggedError("Told")<{ readonly exitCode: number; readonly cause: unknown }> {
  override readonly [Runtime.errorExitCode] = this.exitCode
  override readonly [Runtime.errorReported] = false
}

/** The exit code of `process.exit` that stands for an interruption from the keyboard. */
export const interruptedCode = 130

/** Logs to stderr, at the level and in the form asked for. */
export const logging = ({ logFormat, logLevel }: SessionOptions): Layer.Layer<never> =>
  Layer.mergeAll(
    Layer.succeed(References.MinimumLogLevel, logLevel),
    Logger.layer([Logger.withConsoleError(logFormat === "json" ? Logger.formatJson : textFormat)])
  )

/** Tells the user of what happens around the work: a line, or a record of a JSON log. */
export const notice = (options: SessionOptions, text: string): Effect.Effect<void> =>
  options.logFormat === "json" ? Effect.provide(Effect.logWarning(text), logging(options)) : Console.error(text)

/** How the command that runs talks; `session` says it. */
const Talk: Context.Reference<SessionOptions> = Context.Reference<SessionOptions>("llima/cli/Talk", {
  defaultValue: () => ({ logLevel: "Warn", logFormat: "text" })
})

/** A remark of the work for people, as progress is: on stderr, but not at ERROR; in a JSON log a record at INFO. */
export const remark = (text: string): Effect.Effect<void> =>
  Effect.flatMap(
    Talk,
    ({ logFormat, logLevel }) =>
      logLevel === "Error" ? Effect.void : logFormat === "json" ? Effect.logInfo(text) : Console.error(text)
  )

const levels: Readonly<Record<string, string>> = { Warn: "WARNING" }

/** `WARNING: text key=value`; the level's names are those of `--log_level`. */
const textFormat = Logger.make(({ cause, fiber, logLevel, message }) => {
  const texts = (Array.isArray(message) ? message : [message]).map((part) =>
    typeof part === "string" ? part : JSON.stringify(part)
  )
  const notes = Object.entries(fiber.getRef(References.CurrentLogAnnotations)).map(([key, value]) =>
    ` ${key}=${String(value)}`
  )
  const why = cause.reasons.length > 0 ? `\n${Cause.pretty(cause)}` : ""
  return `${levels[logLevel] ?? logLevel.toUpperCase()}: ${texts.join(" ")}${notes.join("")}${why}`
})

/** The text of a failure, and whether it was foreseen: a typed error has a text for people, all else is a fault of ours. */
const textOf = (error: unknown): { readonly text: string; readonly foreseen: boolean } => {
  if (typeof error !== "object" || error === null) return { text: String(error), foreseen: false }
  const own = CliError.getUserMessage(error)
  if (own !== undefined) return { text: own, foreseen: true }
  const text = error instanceof Error ? `${error.name}: ${error.message.split("\n")[0] ?? ""}` : JSON.stringify(error)
  return { text, foreseen: false }
}

/** Tells the user of a failure on stderr, once: text of its own, or one line for a defect and how to see more. */
export const tell = (options: SessionOptions, cause: Cause.Cause<unknown>): Effect.Effect<Told> =>
  Effect.gen(function*() {
    const error = Cause.squash(cause)
    if (error instanceof Told) return error
    const { foreseen, text } = textOf(error)
    const exitCode = Runtime.getErrorExitCode(error)
    const hint = foreseen
      ? ""
      : "\nThis is a bug in the compiler. Run again with --log_level DEBUG to see where it comes from, and report it."
    if (options.logFormat === "json") {
      yield* Effect.logError(text).pipe(Effect.annotateLogs({ exitCode, bug: !foreseen }))
    } else {
      yield* Console.error(`error: ${text}${options.logLevel === "Debug" ? "" : hint}`)
    }
    if (!foreseen) yield* Effect.logDebug(cause)
    return new Told({ exitCode, cause: error })
  })

const progressLayer = ({ logFormat, logLevel }: SessionOptions) =>
  Layer.unwrap(Effect.map(Screen, (screen) =>
    logLevel === "Error"
      ? Progress.layerSilent
      : logFormat === "json"
      ? layerLogged
      : screen.live
      ? layerLive
      : layerPlain))

/**
 * Runs a command's work with its logger and progress, and tells the user of a failure; `afterInterrupt` is said when the user
 * stopped it.
 */
export const session = <A, E, R>(
  options: SessionOptions,
  work: Effect.Effect<A, E, R>,
  afterInterrupt: string
): Effect.Effect<A, Told, Exclude<R, Progress>> =>
  work.pipe(
    Effect.provide(progressLayer(options)),
    Effect.catchCause((cause): Effect.Effect<never, Told> =>
      Cause.hasInterruptsOnly(cause) ? Effect.interrupt : Effect.flatMap(tell(options, cause), Effect.fail)
    ),
    Effect.onExit((exit) =>
      Exit.isFailure(exit) && Cause.hasInterruptsOnly(exit.cause)
        ? notice(options, `interrupted${afterInterrupt === "" ? "" : `: ${afterInterrupt}`}`)
        : Effect.void
    ),
    Effect.provide(logging(options)),
    Effect.provideService(Talk, options)
  )
