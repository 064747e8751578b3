import { Effect, Option } from "effect"
import { Argument, CliError, type Command, Flag } from "effect/cli"
import { defaults, keepModes, packModes, qualities, targets, verifyModes } from "../plan/Request.ts"
import { parseSize } from "./Size.ts"
import { pathArgument, pathFlag, type PathKind, wholeFlag } from "./Values.ts"

/** A switch that is off unless given; there is no `--no-…`. */
export const off = (name: string, description: string): Flag.Flag<boolean> =>
  Flag.Boolean(name).pipe(
    Flag.withDescription(`${description} [default: off]`),
    Flag.withDefault(false),
    Flag.withoutNegation
  )

const described = (description: string, standard: string | number) => `${description} [default: ${standard}]`

/** A whole number; its range is checked with the others, so that all mistakes show at once. */
export const whole = (name: string, description: string, standard: number): Flag.Flag<number> =>
  wholeFlag(name).pipe(
    Flag.withMetavar("N"),
    Flag.withDescription(described(description, standard)),
    Flag.withDefault(standard)
  )

/** A whole number that may be left out; `standard` says what happens then. */
export const wholeOption = (name: string, description: string, standard: string): Flag.Flag<Option.Option<number>> =>
  wholeFlag(name).pipe(Flag.withMetavar("N"), Flag.withDescription(described(description, standard)), Flag.optional)

/** Any text that may be left out. */
export const textOption = (
  name: string,
  metavar: string,
  description: string,
  standard: string
): Flag.Flag<Option.Option<string>> =>
  Flag.String(name).pipe(
    Flag.withMetavar(metavar),
    Flag.withDescription(described(description, standard)),
    Flag.optional
  )

/** A path that may be left out. */
export const pathOption = (
  name: string,
  kind: PathKind,
  metavar: string,
  description: string,
  standard: string
): Flag.Flag<Option.Option<string>> =>
  pathFlag(name, kind).pipe(
    Flag.withMetavar(metavar),
    Flag.withDescription(described(description, standard)),
    Flag.optional
  )

/** The output folder of a build. */
export const outArgument: Argument.Argument<string> = pathArgument("OUT", "directory").pipe(
  Argument.withDescription("Output folder of a build")
)

/** One of a few words; they and the default stand in the description. */
export const choice = <const Names extends ReadonlyArray<string>>(
  name: string,
  names: Names,
  description: string,
  standard: Names[number]
): Flag.Flag<Names[number]> =>
  Flag.Literals(name, names).pipe(
    Flag.withMetavar(names.join("|")),
    Flag.withDescription(described(description, standard)),
    Flag.withDefault(standard)
  )

/** Verbosity and form of what goes to stderr; of every command. */
export const logFlags = {
  logLevel: Flag.ChoiceWithValue(
    "log_level",
    [["DEBUG", "Debug"], ["INFO", "Info"], ["WARNING", "Warn"], ["ERROR", "Error"]] as const
  ).pipe(
    Flag.withMetavar("DEBUG|INFO|WARNING|ERROR"),
    Flag.withDescription("How much to log; ERROR hides progress too [default: WARNING]"),
    Flag.withDefault("Warn" as const)
  ),
  logFormat: choice("log_format", ["text", "json"], "Log for people, or one JSON object per line", "text")
}

const maxMemory = Flag.String("max_memory").pipe(
  Flag.withMetavar("SIZE"),
  Flag.withDescription(
    "Memory that the steps under way may hold together, e.g. 4GB, 512MiB, 1.5G [default: half of what is free]"
  ),
  Flag.mapEffect((value) => {
    const bytes = parseSize(value)
    return bytes === undefined
      ? Effect.fail(
        new CliError.InvalidValue({
          option: "max_memory",
          value,
          expected: "a size like 4GB, 512MiB or 1.5G",
          kind: "flag"
        })
      )
      : Effect.succeed(bytes)
  }),
  Flag.optional
)

const stage = (name: string, description: string) =>
  Flag.Boolean(name).pipe(
    Flag.withDescription(`Run this stage: ${description} [default: all stages; stage flags may be combined]`),
    Flag.withDefault(false),
    Flag.withoutNegation
  )

/** Every option of `llima-compile`, which `llima plan` takes too. */
export const compileFlags = {
  modelPath: pathArgument("MODEL_PATH", "either").pipe(
    Argument.withDescription("Hugging Face folder, .gguf file, or pre-quantised folder (compressed tensors, GPTQ, AWQ)")
  ),
  output: pathOption(
    "output",
    "directory",
    "DIR",
    "Output folder",
    "the model's name; NAME_out where that is the model itself"
  ).pipe(Flag.withAlias("o")),
  configurationFile: pathOption(
    "configuration_file",
    "file",
    "FILE",
    "Precision by layer: a Python file with get_layer_configuration(model_properties, layer), or .json rules",
    "BF16 everywhere"
  ).pipe(Flag.withAlias("c")),
  maxNumTokens: whole("max_num_tokens", "Context length in tokens, prompt and answer together", defaults.maxNumTokens),
  resume: off("resume", "Keep every finished step whose inputs, options and format are the same"),
  jobs: wholeOption("jobs", "Parallel jobs", "physical cores").pipe(Flag.withAlias("j")),
  ...logFlags,
  inputHeight: wholeOption(
    "input_height",
    "Image height in pixels; required for models based on Siglip2 or Qwen-VL",
    "none"
  ),
  inputWidth: wholeOption(
    "input_width",
    "Image width in pixels; required for models based on Siglip2 or Qwen-VL",
    "none"
  ),
  languageGroupSize: whole("language_group_size", "Tokens per prefill pass", defaults.languageGroupSize),
  futureTokenMaskSize: whole(
    "future_token_mask_size",
    "Token positions that one cache program serves, on targets with fixed shapes",
    defaults.futureTokenMaskSize
  ),
  enableFilterSharing: off("enable_filter_sharing", "Prefill and decode programs share weights; required with LoRA"),
  quantizeEmbeddings: off("quantize_embeddings", "8-bit embedding rows"),
  returnLogits: off("return_logits", "The last layer returns logits instead of the token"),
  loraName: Flag.String("lora_name").pipe(
    Flag.withMetavar("NAME"),
    Flag.withDescription(
      "Name of an adapter to compile too; repeat it, paired in order with --lora_path [default: none]"
    ),
    Flag.atLeast(0)
  ),
  loraPath: pathFlag("lora_path", "directory").pipe(
    Flag.withMetavar("DIR"),
    Flag.withDescription("Folder of the adapter; one for each --lora_name [default: none]"),
    Flag.atLeast(0)
  ),
  loraRank: wholeOption("lora_rank", "Rank of LoRA branches when no adapter is given", "the largest adapter's"),
  devkit: stage("devkit", "files that drive the model on the device"),
  onnx: stage("onnx", "float graphs (Hugging Face input)"),
  quantize: stage("quantize", "quantised graphs (Hugging Face input)"),
  modelSdk: stage("model_sdk", "quantised graphs from numbers that are quantised already (GGUF, GPTQ, AWQ)"),
  compile: stage("compile", "archives for the target"),
  target: choice(
    "target",
    targets,
    "What to compile for: this machine's CPU, SiMa's Modalix, or a mock for tests",
    defaults.target
  ),
  python: pathOption(
    "python",
    "file",
    "PATH",
    "Run the configuration file with this interpreter instead of the sandbox",
    "the sandbox"
  ),
  dryRun: off("dry_run", "Print the plan and stop"),
  maxMemory,
  quality: choice("quality", qualities, "Plain rounding, or calibration with activations", defaults.quality),
  verify: choice(
    "verify",
    verifyModes,
    "Compare every program with the float model; full: on longer text, and the distribution at the end; needs all stages",
    defaults.verify
  ),
  force: off("force", "Replace an output folder that this tool did not make"),
  keep: choice(
    "keep",
    keepModes,
    "Quantised graphs and blobs after the build; --resume needs them",
    defaults.keepQuantized
  ),
  pack: choice("pack", packModes, "Archives: fastest, or smallest", defaults.pack)
}

/** The values of `compileFlags`. */
export type CompileOptions = Command.Command.Config.Infer<typeof compileFlags>
