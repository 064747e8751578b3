import { Console, Effect } from "effect"
import { type CliError, CliOutput, type Completions } from "effect/cli"
import { lacksText, loggingOf, swallowers } from "./CommandLine.ts"
import { logging } from "./Session.ts"

type UsageError = CliError.CliError

/** The exit code of a wrong command line. */
export const usageCode = 2

/** Every letter is near to every other: only words are worth a guess. */
const guess = (suggestions: ReadonlyArray<string>): string => {
  const words = suggestions.map((word) => word.trim()).filter((word) => !/^-[^-]/.test(word))
  return words.length > 0 ? `; did you mean ${words.join(", ")}?` : ""
}

/** What is wrong with the words that were typed, in one line for each mistake. */
const usageLines = (
  program: Completions.CommandDescriptor,
  args: ReadonlyArray<string>,
  error: UsageError
): ReadonlyArray<string> => {
  switch (error._tag) {
    case "UnrecognizedOption":
      return [`unknown option ${error.option}${error.option.startsWith("--") ? guess(error.suggestions) : ""}`]
    case "UnknownSubcommand":
      return [`unknown command ${error.subcommand}${guess(error.suggestions)}`]
    case "MissingOption":
      return [`--${error.option} is required`]
    case "MissingArgument": {
      const taken = swallowers(program, args).map(({ option, value }) => `${option} took ${JSON.stringify(value)}`)
      return [[`${error.argument} is missing`, ...taken.length > 0 ? [taken.join(", ")] : []].join("; ")]
    }
    case "UnexpectedArgument":
      return [`too many arguments: ${error.arguments.map((argument) => JSON.stringify(argument)).join(", ")}`]
    case "InvalidValue": {
      const name = error.kind === "flag" ? `--${error.option}` : error.option
      if (/^\d+ occurrences$/.test(error.value)) return [`${name} is given more than once; give it once`]
      if (error.value === "") {
        const remedy = lacksText(program, args, error.option)
          ? `; one that begins with "-" is given as ${name}='…'`
          : ""
        return [`${name} needs a value${remedy}`]
      }
      const expected = error.expected.replace(/^Expected:?\s*/, "")
        .replace(/^a string representing a finite number.*$/, "a number")
      return [`${name} cannot be ${JSON.stringify(error.value)}; expected ${expected}`]
    }
    default:
      return error.message.split("\n")
  }
}

/**
 * Help and versions to stdout; of a wrong command line only what is wrong, to stderr, and where help is. `args` are the words as they were
 * typed.
 */
export const presenter = (
  program: Completions.CommandDescriptor,
  args: ReadonlyArray<string>
): CliOutput.Presenter => {
  const options = loggingOf(args)
  const refuse = (lines: ReadonlyArray<string>, path: ReadonlyArray<string>) =>
    options.logFormat === "json"
      ? Effect.forEach(lines, (line) => Effect.logError(line), { discard: true }).pipe(
        Effect.annotateLogs({ exitCode: usageCode }),
        Effect.provide(logging(options))
      )
      : Console.error(
        [...lines.map((line) => `error: ${line}`), `Run '${path.join(" ")} --help' for usage.`].join("\n")
      )
  return {
    present: (event) =>
      event._tag === "InvalidInvocation"
        ? refuse(event.errors.flatMap((error) => usageLines(program, args, error)), event.commandPath)
        : event._tag === "Version"
        ? Console.log(`${event.name} ${event.version}`)
        : CliOutput.defaultPresenter.present(event)
  }
}
