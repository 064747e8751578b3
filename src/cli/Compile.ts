import { Effect } from "effect"
import { Command } from "effect/cli"
import type { CompileRequest } from "../plan/Request.ts"
import { compileFlags, type CompileOptions } from "./Flags.ts"
import { checkCompile, compileRequest } from "./Options.ts"
import { session } from "./Session.ts"

/** What is said when a compilation is stopped from the keyboard. */
const resumeHint = "finished steps are kept; run the same command with --resume to go on"

/** Checked options → request → `handle`, with logger and progress. */
export const handleCompile =
  <E, R>(handle: (request: CompileRequest) => Effect.Effect<void, E, R>) => (options: CompileOptions) =>
    session(options, Effect.flatMap(compileRequest(options), handle), resumeHint)

/** `llima-compile`: `handle` does the work that a checked request asks for. */
export const compileCommand = <E, R>(handle: (request: CompileRequest) => Effect.Effect<void, E, R>) =>
  Command.make("llima-compile", compileFlags, handleCompile(handle)).pipe(
    Command.validate(checkCompile),
    Command.withDescription(
      "Compiles a language model into one archive per layer, and the files that a device needs to run them. " +
        "Exit codes: 0 done, 2 usage, 3 bad input, 4 not supported, 5 target failed, 6 verification failed, 7 out of disk or memory, 130 interrupted."
    ),
    Command.withExamples([
      { command: "llima-compile Llama-3.2-3B-Instruct -o out", description: "16-bit weights, 1024 tokens of context" },
      {
        command: "llima-compile Llama-3.2-3B-Instruct -c precision.py --max_num_tokens 4096 -o out --dry_run",
        description: "what a build would do"
      },
      {
        command: "llima-compile Llama-3.2-3B-Instruct -c precision.py -o out --resume -j 4",
        description: "go on after an interruption"
      },
      {
        command: "llima-compile gemma-3-model --input_height 448 --input_width 448 -o out",
        description: "a model that sees"
      },
      {
        command:
          "llima-compile Llama-3.2-3B-Instruct --enable_filter_sharing --lora_name sql --lora_path ./sql-adapter -c lora.py -o out",
        description: "with an adapter that can be switched on and off"
      }
    ])
  )
