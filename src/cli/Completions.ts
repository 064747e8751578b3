import { Console, Effect, Option } from "effect"
import { type Command, Completions, GlobalFlag } from "effect/cli"

type Descriptor = Completions.CommandDescriptor

const help: Completions.FlagDescriptor = {
  name: "help",
  aliases: ["h"],
  description: "Show help information",
  type: { _tag: "Boolean" },
  negation: false
}

/** The flags of a program that its commands do not have. */
const ofProgram: ReadonlyArray<Completions.FlagDescriptor> = [
  { ...help, name: "version", aliases: ["v"], description: "Show version information" },
  {
    name: "completions",
    aliases: [],
    description: "Print shell completion script",
    type: { _tag: "Choice", values: ["bash", "zsh", "fish", "powershell"] }
  }
]

/** effect's scripts know a command's own flags only. */
const withHelp = (command: Descriptor): Descriptor => ({
  ...command,
  flags: [...command.flags, help],
  subcommands: command.subcommands.map(withHelp)
})

/**
 * Leaves paths to readline, which adds the slash behind a folder and quotes what needs it; effect's own helper, kept where Bash is
 * too old for this, ends a folder with a space. Source: helper's name and arguments of effect 4.1.0, internal/completions/bash.ts.
 */
const bashPaths = (program: string) =>
  `if type compopt &>/dev/null; then
  _${program.replaceAll("-", "_")}--paths()
  {
    COMPREPLY=()
    case "$1" in
      -d) compopt -o dirnames ;;
      *) compopt -o default ;;
    esac
  }
fi`

/** A program's commands with their options and arguments. */
export const describe = (program: Command.Command.Any): Descriptor => {
  const { flags, ...rest } = withHelp(Completions.fromCommand(program))
  return { ...rest, flags: [...flags, ...ofProgram] }
}

/** `--completions`: prints the script by which a shell completes a program's command lines. */
export const completions = GlobalFlag.Action({
  flag: GlobalFlag.Completions.flag,
  run: (asked, { command }) =>
    Option.match(asked, {
      onNone: () => Effect.void,
      onSome: (shell) => {
        const script = Completions.generate(command.name, shell, describe(command))
        return Console.log(shell === "bash" ? `${script}\n${bashPaths(command.name)}` : script)
      }
    })
})
