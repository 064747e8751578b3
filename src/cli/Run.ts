import { Effect, Option } from "effect"
import { Command, Flag } from "effect/cli"
import type { RunInput, RunRequest } from "../plan/Request.ts"
import { logFlags, off, outArgument, pathOption, textOption, whole, wholeOption } from "./Flags.ts"
import { usage } from "./Options.ts"
import { session } from "./Session.ts"

const real = (name: string, description: string, standard: string) =>
  Flag.Finite(name).pipe(
    Flag.withMetavar("X"),
    Flag.withDescription(`${description} [default: ${standard}]`),
    Flag.optional
  )

const runFlags = {
  out: outArgument,
  prompt: textOption("prompt", "TEXT", "Text to go on from; with --chat, one message", "none"),
  promptIds: pathOption("prompt_ids", "file", "FILE.json", "Prompt as a JSON array of token ids", "none"),
  chat: off("chat", "Talk through the model's chat template; without --prompt, on the terminal"),
  image: pathOption("image", "file", "FILE", "A picture to show to a model that sees", "none"),
  lora: textOption("lora", "NAME", "Adapter of the build to switch on", "none"),
  maxNewTokens: whole("max_new_tokens", "Tokens to generate at most", 128),
  ignoreEos: off("ignore_eos", "Go on past the model's end token"),
  temperature: real("temperature", "Randomness; 0 takes the likeliest token", "0"),
  topK: wholeOption("top_k", "Choose among this many likeliest tokens", "all"),
  topP: real("top_p", "Choose among the likeliest tokens that have this share of the probability", "1"),
  seed: wholeOption("seed", "Seed of the choice", "0"),
  logits: pathOption("logits", "file", "FILE.npy", "Write the prompt's logits, [tokens x vocabulary] float32", "none"),
  json: off("json", "Print one JSON object: prompt_ids, ids, text, timings"),
  exact: off("exact", "Add up in float32: slow, for comparisons"),
  ...logFlags
}

type RunOptions = Command.Command.Config.Infer<typeof runFlags>

const inputOf = ({ chat, prompt, promptIds }: RunOptions): RunInput | undefined => {
  const text = Option.getOrUndefined(prompt)
  if (chat) return { kind: "chat", message: text }
  if (text !== undefined) return { kind: "text", text }
  return Option.isSome(promptIds) ? { kind: "ids", file: promptIds.value } : undefined
}

/** Ranges and contradictions of `llima run`, one line each. */
const runProblems = (options: RunOptions): ReadonlyArray<string> => {
  const input = inputOf(options)
  const conversation = input?.kind === "chat" && input.message === undefined
  const temperature = Option.getOrElse(options.temperature, () => 0)
  const topP = Option.getOrElse(options.topP, () => 1)
  const chosen = ([["top_k", options.topK], ["top_p", options.topP], ["seed", options.seed]] as const)
    .flatMap(([name, value]) => Option.isSome(value) ? [`--${name}`] : [])
  return [
    ...options.out.trim() === "" ? ["OUT is empty"] : [],
    ...input === undefined ? ["nothing to start from; give --prompt TEXT, --prompt_ids FILE.json or --chat"] : [],
    ...Option.isSome(options.promptIds) && (options.chat || Option.isSome(options.prompt))
      ? ["--prompt_ids cannot be combined with --prompt or --chat"]
      : [],
    ...options.maxNewTokens < 1 ? [`--max_new_tokens is ${options.maxNewTokens}; it must be at least 1`] : [],
    ...temperature < 0 ? [`--temperature is ${temperature}; it must be 0 or more`] : [],
    ...topP <= 0 || topP > 1 ? [`--top_p is ${topP}; it must be above 0 and at most 1`] : [],
    ...Option.getOrElse(options.topK, () => 1) < 1 ? ["--top_k must be at least 1"] : [],
    ...temperature === 0 && chosen.length > 0
      ? [`${chosen.join(", ")}: the likeliest token is taken unless --temperature is above 0`]
      : [],
    ...conversation && (options.json || Option.isSome(options.logits))
      ? ["--json and --logits need a prompt; --chat alone is a conversation"]
      : []
  ]
}

/** `llima run`: `handle` generates. */
export const runCommand = <E, R>(handle: (request: RunRequest) => Effect.Effect<void, E, R>) =>
  Command.make("run", runFlags, (options) =>
    session(
      options,
      Effect.suspend(() =>
        handle({
          out: options.out,
          input: inputOf(options) ?? { kind: "text", text: "" },
          image: Option.getOrUndefined(options.image),
          lora: Option.getOrUndefined(options.lora),
          maxNewTokens: options.maxNewTokens,
          ignoreEos: options.ignoreEos,
          temperature: Option.getOrElse(options.temperature, () => 0),
          topK: Option.getOrElse(options.topK, () => 0),
          topP: Option.getOrElse(options.topP, () => 1),
          seed: Option.getOrElse(options.seed, () => 0),
          logits: Option.getOrUndefined(options.logits),
          json: options.json,
          exact: options.exact
        })
      ),
      ""
    )).pipe(
      Command.validate((options) => {
        const problems = runProblems(options)
        return problems.length > 0 ? Effect.fail(usage(problems)) : Effect.void
      }),
      Command.withDescription("Runs a build on this machine, greedily unless --temperature is given."),
      Command.withExamples([
        { command: "llima run out --prompt \"The sea is\" --max_new_tokens 32", description: "go on from a text" },
        { command: "llima run out --chat", description: "a conversation" },
        {
          command: "llima run out --prompt_ids ids.json --logits logits.npy --json --exact",
          description: "for comparisons"
        }
      ])
    )
