import { Effect, Option, Path } from "effect"
import { Argument, Command, Flag } from "effect/cli"
import type { CompileLoraRequest } from "../plan/Request.ts"
import { logFlags, pathOption } from "./Flags.ts"
import { outputFolder, usage } from "./Options.ts"
import { session } from "./Session.ts"
import { pathArgument, pathFlag } from "./Values.ts"

/** `llima-compile-lora`: `handle` compiles one adapter for a base model that is compiled already. */
export const compileLoraCommand = <E, R>(handle: (request: CompileLoraRequest) => Effect.Effect<void, E, R>) =>
  Command.make("llima-compile-lora", {
    basePath: pathArgument("BASE_PATH", "directory").pipe(
      Argument.withDescription("Folder of the base model, Hugging Face format")
    ),
    loraPath: pathArgument("LORA_PATH", "directory").pipe(Argument.withDescription("Folder of the adapter")),
    weightMapPath: pathFlag("weight_map_path", "directory").pipe(
      Flag.withAlias("w"),
      Flag.withMetavar("MPK_DIR"),
      Flag.withDescription("The mpk folder of the base model's build, which holds weight_map.json [required]")
    ),
    output: pathOption(
      "output",
      "directory",
      "DIR",
      "Folder for the adapter's .npy files",
      "the adapter's name; NAME_out where that is the adapter itself"
    )
      .pipe(Flag.withAlias("o")),
    ...logFlags
  }, (options) =>
    session(
      options,
      Effect.gen(function*() {
        const path = yield* Path.Path
        const { basePath, loraPath, weightMapPath } = options
        const output = Option.getOrElse(options.output, () => outputFolder(path, loraPath))
        return yield* handle({ basePath, loraPath, weightMapPath, output })
      }),
      ""
    )).pipe(
      Command.validate(({ basePath, loraPath, output, weightMapPath }) => {
        const given = [["BASE_PATH", basePath], ["LORA_PATH", loraPath], ["--weight_map_path", weightMapPath], [
          "--output",
          Option.getOrElse(output, () => "-")
        ]] as const
        const problems = given.flatMap(([name, value]) => value.trim() === "" ? [`${name} is empty`] : [])
        return problems.length > 0 ? Effect.fail(usage(problems)) : Effect.void
      }),
      Command.withDescription(
        "Compiles a LoRA adapter for a base model that is compiled already; the base is not compiled again."
      ),
      Command.withExamples([{
        command:
          "llima-compile-lora Llama-3.2-3B-Instruct ./sql-adapter -w out/sima_files/mpk -o out/sima_files/npy_files/sql",
        description: "add an adapter to a build"
      }])
    )
