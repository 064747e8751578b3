import { Cause, Effect, Exit, Layer, Runtime } from "effect"
import { CliConfig, CliError, CliOutput, Command, GlobalFlag } from "effect/cli"
import { attached } from "./Flags.ts"
import { interruptedCode, logging, type SessionOptions, tell, Told } from "./Session.ts"
import { presenter } from "./Usage.ts"

/** Exit codes that are not an error's own. */
export const usageCode = 2

/** Usage errors leave with 2, help with 0, interruptions with 130, failures with their own code. */
export const exitCode = (exit: Exit.Exit<unknown, unknown>): number => {
  if (Exit.isSuccess(exit)) return 0
  if (Cause.hasInterruptsOnly(exit.cause)) return interruptedCode
  const error = Cause.squash(exit.cause)
  if (CliError.isCliError(error)) return error._tag === "ShowHelp" && error.errors.length === 0 ? 0 : usageCode
  return Runtime.getErrorExitCode(error)
}

/** Hands `exitCode` to the platform. */
export const teardown: Runtime.Teardown = (exit, onExit) => onExit(exitCode(exit))

const quiet: SessionOptions = { logLevel: "Warn", logFormat: "text" }
const debugging: SessionOptions = { logLevel: "Debug", logFormat: "text" }

/** What fails outside a command's session (parsing, a bug of ours) is told in one line too. */
const report = (args: ReadonlyArray<string>) => (cause: Cause.Cause<unknown>): Effect.Effect<void> => {
  const error = Cause.squash(cause)
  if (error instanceof Told || CliError.isCliError(error) || Cause.hasInterruptsOnly(cause)) return Effect.void
  const options =
    args.some((arg, position) =>
        arg === "--log_level=DEBUG" || (arg === "--log_level" && args[position + 1] === "DEBUG")
      )
      ? debugging
      : quiet
  return Effect.provide(Effect.asVoid(tell(options, cause)), logging(options))
}

const settings = Layer.mergeAll(
  CliOutput.layerPresenter(presenter),
  // No wizard; the log level is ours, by its documented name.
  CliConfig.layer({ builtIns: [GlobalFlag.Help, GlobalFlag.Version, GlobalFlag.Completions] })
)

/** A program from its command and its arguments; fails only with what `exitCode` reads, after the user has been told. */
export const program = <const Name extends string, Input, E, R, ContextInput>(
  command: Command.Command<Name, Input, ContextInput, E, R>,
  version: string,
  args: ReadonlyArray<string>
) =>
  Effect.suspend(() => Command.runWith(command, { version })(attached(args))).pipe(
    Effect.tapCause(report(args)),
    Effect.provide(settings)
  )
