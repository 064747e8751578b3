import { Effect, Schema } from "effect"

/** The stages that a user can name; a request without a choice has all of them. `model_sdk` is whichever direct stage the source has. */
export const stageFlags = ["devkit", "onnx", "quantize", "model_sdk", "compile"] as const
export type StageFlag = (typeof stageFlags)[number]

export const targets = ["host", "modalix", "mock"] as const
export const qualities = ["fast", "best"] as const
export const verifyModes = ["none", "quick", "full"] as const
export const packModes = ["fast", "best"] as const
export const keepModes = ["all", "none"] as const

/** Inclusive ranges of the numbers, and what each counts; the command line shows them in its messages. */
export const ranges = {
  maxNumTokens: { from: 1, to: 2 ** 24, unit: "tokens" },
  jobs: { from: 1, to: 1024, unit: "jobs" },
  imageHeight: { from: 1, to: 16_384, unit: "pixels" },
  imageWidth: { from: 1, to: 16_384, unit: "pixels" },
  languageGroupSize: { from: 1, to: 65_536, unit: "tokens" },
  futureTokenMaskSize: { from: 1, to: 65_536, unit: "tokens" },
  loraRank: { from: 1, to: 1024, unit: "columns" },
  /** with less, not even the process and one step of a small model fit */
  maxMemory: { from: 192 * 2 ** 20, to: 2 ** 50, unit: "bytes" }
} as const

/** What the options are without a word from the user. */
export const defaults = {
  maxNumTokens: 1024,
  languageGroupSize: 128,
  futureTokenMaskSize: 128,
  target: "host",
  quality: "fast",
  verify: "quick",
  keepQuantized: "all",
  pack: "fast",
  maxMemory: 2 ** 31
} as const

/** An adapter's name becomes a folder's name, so it is one: no separators, no leading dot. */
export const loraNamePattern = /^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/

const Whole = ({ from, to, unit }: { readonly from: number; readonly to: number; readonly unit: string }) =>
  Schema.Int.check(Schema.isBetween({ minimum: from, maximum: to }, { message: `must be ${from} to ${to} ${unit}` }))
const Text = Schema.String.check(Schema.isNonEmpty({ message: "must not be empty" }))
const off = Schema.Boolean.pipe(Schema.withConstructorDefault(Effect.succeed(false)))

/** One adapter to compile beside the base model. */
export const Lora = Schema.Struct({
  name: Schema.String.check(Schema.isPattern(loraNamePattern, { message: "must be letters, digits, `.`, `_` or `-`" })),
  path: Text
})
export type Lora = typeof Lora.Type

/**
 * What the user asks of a compilation. `CompileRequest.make({ modelPath, output })` fills in the defaults of the command line;
 * `jobs` and `maxMemory` are what the machine is given: the command line measures it (see `plan/Machine.ts`).
 */
export const CompileRequest = Schema.Struct({
  /** Hugging Face folder, `.gguf` file, or pre-quantised folder */
  modelPath: Text,
  /** output folder; made when missing */
  output: Text,
  /** Python file with `get_layer_configuration`, or a `.json` file of rules */
  configurationFile: Schema.optional(Text),
  /** context length, prompt and answer together */
  maxNumTokens: Whole(ranges.maxNumTokens).pipe(Schema.withConstructorDefault(Effect.succeed(defaults.maxNumTokens))),
  resume: off,
  jobs: Whole(ranges.jobs).pipe(Schema.withConstructorDefault(Effect.sync(() => navigator.hardwareConcurrency))),
  /** pixels; both or neither */
  imageHeight: Schema.optional(Whole(ranges.imageHeight)),
  imageWidth: Schema.optional(Whole(ranges.imageWidth)),
  /** tokens per prefill pass */
  languageGroupSize: Whole(ranges.languageGroupSize).pipe(
    Schema.withConstructorDefault(Effect.succeed(defaults.languageGroupSize))
  ),
  /** granularity of cache programs over token positions */
  futureTokenMaskSize: Whole(ranges.futureTokenMaskSize).pipe(
    Schema.withConstructorDefault(Effect.succeed(defaults.futureTokenMaskSize))
  ),
  enableFilterSharing: off,
  quantizeEmbeddings: off,
  returnLogits: off,
  loras: Schema.Array(Lora).pipe(Schema.withConstructorDefault(Effect.succeed([]))),
  /** rank of the branches when no adapter is given */
  loraRank: Schema.optional(Whole(ranges.loraRank)),
  /** stages to run, in any order */
  stages: Schema.Array(Schema.Literals(stageFlags)).pipe(
    Schema.withConstructorDefault(Effect.succeed([...stageFlags]))
  ),
  target: Schema.Literals(targets).pipe(Schema.withConstructorDefault(Effect.succeed(defaults.target))),
  /** interpreter that runs the configuration file instead of the sandbox */
  python: Schema.optional(Text),
  dryRun: off,
  /** bytes that the build may hold, the process included */
  maxMemory: Whole(ranges.maxMemory).pipe(Schema.withConstructorDefault(Effect.succeed(defaults.maxMemory))),
  quality: Schema.Literals(qualities).pipe(Schema.withConstructorDefault(Effect.succeed(defaults.quality))),
  verify: Schema.Literals(verifyModes).pipe(Schema.withConstructorDefault(Effect.succeed(defaults.verify))),
  /** replace an output folder that is not ours */
  force: off,
  /** "none": drop `sima_files/quantized` after a build that succeeded */
  keepQuantized: Schema.Literals(keepModes).pipe(Schema.withConstructorDefault(Effect.succeed(defaults.keepQuantized))),
  /** "fast": archives with stored blobs; "best": smallest archives */
  pack: Schema.Literals(packModes).pipe(Schema.withConstructorDefault(Effect.succeed(defaults.pack)))
})
export type CompileRequest = typeof CompileRequest.Type

/** What `llima-compile-lora` is asked: one adapter, for a base model that is compiled already. */
export const CompileLoraRequest = Schema.Struct({
  /** the base model's folder, Hugging Face format */
  basePath: Text,
  /** the adapter's folder */
  loraPath: Text,
  /** the base build's `mpk` folder, which holds weight_map.json */
  weightMapPath: Text,
  /** folder for the adapter's `.npy` files */
  output: Text
})
export type CompileLoraRequest = typeof CompileLoraRequest.Type

/** What a runner is given to begin with. `chat` without a message is a conversation on the terminal. */
export const RunInput = Schema.Union([
  Schema.Struct({ kind: Schema.Literal("text"), text: Schema.String }),
  Schema.Struct({ kind: Schema.Literal("ids"), file: Text }),
  Schema.Struct({ kind: Schema.Literal("chat"), message: Schema.optional(Schema.String) })
])
export type RunInput = typeof RunInput.Type

/** What `llima run` is asked. */
export const RunRequest = Schema.Struct({
  /** a build's output folder */
  out: Text,
  input: RunInput,
  image: Schema.optional(Text),
  /** name of an adapter of the build */
  lora: Schema.optional(Text),
  maxNewTokens: Schema.Int.check(Schema.isGreaterThan(0)),
  ignoreEos: Schema.Boolean,
  /** 0: greedy */
  temperature: Schema.Finite.check(Schema.isGreaterThanOrEqualTo(0)),
  /** 0: all tokens */
  topK: Schema.Int.check(Schema.isGreaterThanOrEqualTo(0)),
  topP: Schema.Finite.check(Schema.isBetween({ minimum: 0, maximum: 1 })),
  seed: Schema.Int,
  /** `.npy` file to write the prompt's logits to, `[tokens × vocabulary]` f32 */
  logits: Schema.optional(Text),
  /** print one JSON object instead of text */
  json: Schema.Boolean,
  /** float32 accumulation: slow, for comparisons */
  exact: Schema.Boolean
})
export type RunRequest = typeof RunRequest.Type
