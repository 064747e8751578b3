import { Console } from "effect"
import { type CliError, CliOutput } from "effect/cli"

type UsageError = CliError.CliError

const quoted = (words: ReadonlyArray<string>) => words.map((word) => word.trim()).join(", ")

/** What is wrong, in one line for each mistake. */
export const usageLines = (error: UsageError): ReadonlyArray<string> => {
  switch (error._tag) {
    case "UnrecognizedOption":
      // Every letter is near to every other: only words are worth a guess.
      return [
        `unknown option ${error.option}${
          error.suggestions.length > 0 && error.option.startsWith("--")
            ? `; did you mean ${quoted(error.suggestions)}?`
            : ""
        }`
      ]
    case "UnknownSubcommand":
      return [
        `unknown command ${error.subcommand}${
          error.suggestions.length > 0 ? `; did you mean ${quoted(error.suggestions)}?` : ""
        }`
      ]
    case "MissingOption":
      return [`--${error.option} is required`]
    case "MissingArgument":
      return [`${error.argument} is missing`]
    case "UnexpectedArgument":
      return [`too many arguments: ${error.arguments.map((argument) => JSON.stringify(argument)).join(", ")}`]
    case "InvalidValue": {
      const name = error.kind === "flag" ? `--${error.option}` : error.option
      if (/^\d+ occurrences$/.test(error.value)) return [`${name} is given more than once; give it once`]
      if (error.value === "") return [`${name} needs a value`]
      const expected = error.expected.replace(/^Expected:?\s*/, "")
        .replace(/^a string representing a finite number.*$/, "a number")
        .replace(/^an integer.*$/, "a whole number")
      return [`${name} cannot be ${JSON.stringify(error.value)}; expected ${expected}`]
    }
    default:
      return error.message.split("\n")
  }
}

/** Help and versions to stdout; of a wrong command line only what is wrong, to stderr, and where help is. */
export const presenter: CliOutput.Presenter = {
  present: (event) =>
    event._tag === "InvalidInvocation"
      ? Console.error([
        ...event.errors.flatMap(usageLines).map((line) => `error: ${line}`),
        `Run '${event.commandPath.join(" ")} --help' for usage.`
      ].join("\n"))
      : event._tag === "Version"
      ? Console.log(`${event.name} ${event.version}`)
      : CliOutput.defaultPresenter.present(event)
}
