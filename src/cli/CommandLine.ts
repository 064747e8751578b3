import type { Completions } from "effect/cli"
import type { SessionOptions } from "./Session.ts"

type Command = Completions.CommandDescriptor
type Flag = Completions.FlagDescriptor

/** An option that took a word for its value. */
export interface Taken {
  readonly flag: Flag
  /** as it was typed: `-j`, `--jobs` */
  readonly option: string
  readonly value: string
}

const takesValue = ({ type }: Flag): boolean => type._tag !== "Boolean"

/** The command of a program that the words ask for. */
const chosen = (program: Command, args: ReadonlyArray<string>): Command => {
  const name = args.find((arg) => !arg.startsWith("-"))
  return program.subcommands.find((command) => command.name === name) ?? program
}

const flagOf = ({ flags }: Command, word: string): Flag | undefined =>
  word.startsWith("--")
    ? flags.find(({ name }) => name === word.slice(2))
    : flags.find(({ aliases }) => aliases.some((alias) => word === `-${alias}`))

/** Whether a word that begins with "-" is meant as an option, even one that does not exist. */
const isOption = (command: Command, word: string): boolean => {
  const [name = ""] = word.split("=")
  if (/^--[A-Za-z]/.test(word)) return !/\s/.test(name)
  const first = flagOf(command, word.slice(0, 2))
  if (first !== undefined && takesValue(first)) return !/\s/.test(word)
  return name.length > 1 && name.slice(1).split("").every((letter) => flagOf(command, `-${letter}`) !== undefined)
}

/** What stands before `--`, as pairs of an option and its value, and single words. */
const read = (command: Command, args: ReadonlyArray<string>): ReadonlyArray<string | Taken> => {
  const words: Array<string | Taken> = []
  for (let at = 0; at < args.length; at++) {
    const option = args[at] ?? ""
    const value = args[at + 1]
    const flag = flagOf(command, option)
    const takes = flag !== undefined && takesValue(flag) && value !== undefined &&
      !(value.startsWith("-") && isOption(command, value))
    words.push(takes ? { flag, option, value } : option)
    if (takes) at++
  }
  return words
}

const beforeEnd = (args: ReadonlyArray<string>): ReadonlyArray<string> => {
  const end = args.indexOf("--")
  return end < 0 ? args : args.slice(0, end)
}

/**
 * The words as effect's parser wants them: `-j4` is `-j=4`, and a value that begins with "-" is joined to its option; what follows `--`
 * is left alone.
 */
export const attached = (program: Command, args: ReadonlyArray<string>): ReadonlyArray<string> => {
  const command = chosen(program, args)
  const options = beforeEnd(args)
  const words = read(command, options).flatMap((word) => {
    if (typeof word !== "string") {
      return word.value.startsWith("-") ? [`${word.option}=${word.value}`] : [word.option, word.value]
    }
    const short = flagOf(command, word.slice(0, 2))
    return short !== undefined && takesValue(short) && /^-[^-][^=]/.test(word)
      ? [`${word.slice(0, 2)}=${word.slice(2)}`]
      : [word]
  })
  return [...words, ...args.slice(options.length)]
}

/** Whether a flag can read the value; paths and texts are anything. */
const fits = ({ type }: Flag, value: string): boolean =>
  type._tag === "Choice"
    ? type.values.includes(value)
    : type._tag === "Int" || type._tag === "Finite"
    ? Number.isFinite(Number(value))
    : true

/** Options that may have swallowed a missing argument: those whose value is none of theirs, or else those that take a path. */
export const swallowers = (program: Command, args: ReadonlyArray<string>): ReadonlyArray<Taken> => {
  const taken = read(chosen(program, args), beforeEnd(args)).filter((word) => typeof word !== "string")
  const wrong = taken.filter(({ flag, value }) => !fits(flag, value))
  return wrong.length > 0 ? wrong : taken.filter(({ flag }) => flag.type._tag === "Path")
}

/** Whether a text option is followed by a word that was read as another option. */
export const lacksText = (program: Command, args: ReadonlyArray<string>, name: string): boolean => {
  const command = chosen(program, args)
  return beforeEnd(args).some((word, at) => {
    const flag = flagOf(command, word)
    return flag?.name === name && flag.type._tag === "String" && args[at + 1]?.startsWith("-") === true
  })
}

/** How to talk of what goes wrong outside a command's session, where the flags are not read yet. */
export const loggingOf = (args: ReadonlyArray<string>): SessionOptions => {
  const asked = (name: string, value: string) =>
    args.some((arg, at) => arg === `--${name}=${value}` || (arg === `--${name}` && args[at + 1] === value))
  return {
    logLevel: asked("log_level", "DEBUG") ? "Debug" : asked("log_level", "ERROR") ? "Error" : "Warn",
    logFormat: asked("log_format", "json") ? "json" : "text"
  }
}
