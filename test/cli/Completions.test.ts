import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { compileCommand } from "../../src/cli/Compile.ts"
import { compileLoraCommand } from "../../src/cli/CompileLora.ts"
import { describe as described } from "../../src/cli/Completions.ts"
import { llimaCommand } from "../../src/cli/Llima.ts"
import { invoke, recorder } from "./invoke.ts"

const { handle } = recorder<object>()
const programs = [
  compileCommand(handle),
  compileLoraCommand(handle),
  llimaCommand({ plan: handle, run: handle, inspect: handle, verify: handle, report: handle })
]
const commands = programs.flatMap((program) => {
  const all = described(program)
  return [all, ...all.subcommands]
})

/** Options that stand for a path, as their descriptions say it. */
const paths = /^(output|configuration_file|lora_path|python|weight_map_path|model|prompt_ids|image|logits)$/

describe("completions", () => {
  it.each(commands)(
    "$name offers paths for arguments and options that are paths, and --help",
    ({ arguments: given, flags }) => {
      assert.deepStrictEqual(
        given.filter(({ name }) => name !== "MODE").map(({ type }) => type._tag).filter((tag) => tag !== "Path"),
        []
      )
      for (const { name, type } of flags) assert.strictEqual(type._tag === "Path", paths.test(name), name)
      assert.include(flags.map(({ name }) => name), "help")
    }
  )

  it.effect("leave the quoting of paths in Bash to readline", () =>
    Effect.gen(function*() {
      const { out } = yield* invoke(compileCommand(handle), ["--completions", "bash"])
      // effect's own helper, and ours behind it
      assert.lengthOf(out.split("_llima_compile--paths()"), 3)
      assert.include(out, "_llima_compile--paths -d \"$cur\"")
      assert.include(out, "compopt -o dirnames")
    }))
})
