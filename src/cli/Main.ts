import { Cause, Effect, Exit, Runtime } from "effect"
import { CliConfig, CliError, CliOutput, Command, GlobalFlag } from "effect/cli"
import { attached, loggingOf } from "./CommandLine.ts"
import { completions, describe } from "./Completions.ts"
import { interruptedCode, logging, tell, Told } from "./Session.ts"
import { presenter, usageCode } from "./Usage.ts"

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

/** What fails outside a command's session (parsing, a bug of ours) is told in one line too. */
const report = (args: ReadonlyArray<string>) => (cause: Cause.Cause<unknown>): Effect.Effect<void> => {
  const error = Cause.squash(cause)
  if (error instanceof Told || CliError.isCliError(error) || Cause.hasInterruptsOnly(cause)) return Effect.void
  const options = loggingOf(args)
  return Effect.provide(Effect.asVoid(tell(options, cause)), logging(options))
}

/** A program from its command and its arguments; fails only with what `exitCode` reads, after the user has been told. */
export const program = <const Name extends string, Input, E, R, ContextInput>(
  command: Command.Command<Name, Input, ContextInput, E, R>,
  version: string,
  args: ReadonlyArray<string>
) =>
  Effect.suspend(() => {
    const described = describe(command)
    return Command.runWith(command, { version })(attached(described, args)).pipe(
      Effect.tapCause(report(args)),
      Effect.provide([
        CliOutput.layerPresenter(presenter(described, args)),
        // No wizard; the log level is ours, by its documented name.
        CliConfig.layer({ builtIns: [GlobalFlag.Help, GlobalFlag.Version, completions] })
      ])
    )
  })
