import { Effect, type FileSystem, Option, Path } from "effect"
import { CliError } from "effect/cli"
import { halfOfFreeMemory, physicalCores } from "../plan/Machine.ts"
import { CompileRequest, type Lora, loraNamePattern, ranges, type StageFlag } from "../plan/Request.ts"
import type { CompileOptions } from "./Flags.ts"
import { formatSize } from "./Size.ts"

/** All mistakes of one command line at once; the presenter shows one a line. */
export const usage = (problems: ReadonlyArray<string>): CliError.ValidationError =>
  new CliError.ValidationError({ message: problems.join("\n") })

const outside = (
  flag: string,
  range: { readonly from: number; readonly to: number; readonly unit: string },
  found: number | undefined
) => {
  if (found === undefined || (range.from <= found && found <= range.to)) return []
  const text = (value: number) => range.unit === "bytes" ? formatSize(value) : `${value}`
  const unit = range.unit === "bytes" ? "" : ` ${range.unit}`
  return [`--${flag} is ${text(found)}; it must be ${text(range.from)} to ${text(range.to)}${unit}`]
}

const empty = (flag: string, value: string | undefined) => value?.trim() === "" ? [`--${flag} is empty`] : []

const loraProblems = (options: CompileOptions): ReadonlyArray<string> => {
  const { loraName: names, loraPath: folders } = options
  const rank = Option.getOrUndefined(options.loraRank)
  const twice = new Set(names.filter((name, position) => names.indexOf(name) !== position))
  const asked = names.length > 0 || folders.length > 0
    ? "--lora_name and --lora_path"
    : rank === undefined
    ? undefined
    : "--lora_rank"
  return [
    ...names.length === folders.length
      ? []
      : [`${names.length} --lora_name and ${folders.length} --lora_path; give one of each for every adapter`],
    ...asked === undefined || options.enableFilterSharing
      ? []
      : [`${asked}: LoRA needs --enable_filter_sharing; add it`],
    ...Array.from(twice, (name) => `--lora_name ${name} is given twice; each adapter needs a name of its own`),
    ...names.filter((name) => !loraNamePattern.test(name)).map((name) =>
      `--lora_name ${JSON.stringify(name)}: a name has letters, digits, ".", "_" or "-", and no more than 64`
    ),
    ...folders.flatMap((folder) => empty("lora_path", folder)),
    ...rank !== undefined && names.length > 0
      ? ["--lora_rank is for builds without an adapter; the adapters have ranks of their own"]
      : [],
    ...outside("lora_rank", ranges.loraRank, rank)
  ]
}

/** What is wrong with the options of a compilation, in one line each: ranges, pairs, contradictions. */
export const compileProblems = (options: CompileOptions): ReadonlyArray<string> => {
  const height = Option.getOrUndefined(options.inputHeight)
  const width = Option.getOrUndefined(options.inputWidth)
  const configuration = Option.getOrUndefined(options.configurationFile)
  const python = Option.getOrUndefined(options.python)
  const { verify } = options
  return [
    ...options.modelPath.trim() === "" ? ["MODEL_PATH is empty"] : [],
    ...empty("output", Option.getOrUndefined(options.output)),
    ...empty("configuration_file", configuration),
    ...empty("python", python),
    ...outside("max_num_tokens", ranges.maxNumTokens, options.maxNumTokens),
    ...outside("jobs", ranges.jobs, Option.getOrUndefined(options.jobs)),
    ...outside("input_height", ranges.imageHeight, height),
    ...outside("input_width", ranges.imageWidth, width),
    ...(height === undefined) === (width === undefined)
      ? []
      : ["--input_height and --input_width belong together; give both"],
    ...outside("language_group_size", ranges.languageGroupSize, options.languageGroupSize),
    ...outside("future_token_mask_size", ranges.futureTokenMaskSize, options.futureTokenMaskSize),
    ...outside("max_memory", ranges.maxMemory, Option.getOrUndefined(options.maxMemory)),
    ...loraProblems(options),
    ...python !== undefined && configuration === undefined
      ? ["--python runs a configuration file; give one with -c"]
      : [],
    ...python !== undefined && configuration?.endsWith(".json") === true
      ? ["--python is for Python files, and -c names a .json file"]
      : [],
    ...options.target !== "host" && verify === "full"
      ? [
        `--verify ${verify} runs the programs here, and --target ${options.target} makes none that can; use --target host or --verify none`
      ]
      : []
  ]
}

/** The folder that a build goes to when none is named: `of` without `.gguf`, in the current folder; never `of` itself. */
export const outputFolder = (path: Path.Path, of: string, suffix = "_out"): string => {
  const source = path.resolve(of)
  const name = path.basename(source).replace(/\.gguf$/i, "")
  const folder = name === "" ? "model" : name
  return path.resolve(folder) === source ? `${folder}${suffix}` : folder
}

const stagesOf = (options: CompileOptions): ReadonlyArray<StageFlag> | undefined => {
  const asked = [
    ["devkit", options.devkit],
    ["onnx", options.onnx],
    ["quantize", options.quantize],
    ["model_sdk", options.modelSdk],
    ["compile", options.compile]
  ] as const
  const named = asked.flatMap(([name, on]) => on ? [name] : [])
  return named.length === 0 ? undefined : named
}

/** Fails with all of `compileProblems`, and when the output folder is the model. */
export const checkCompile = Effect.fnUntraced(function*(options: CompileOptions) {
  const path = yield* Path.Path
  const { modelPath } = options
  const output = Option.getOrElse(options.output, () => outputFolder(path, modelPath))
  const problems = [
    ...compileProblems(options),
    ...path.resolve(output) === path.resolve(modelPath)
      ? [`--output ${output} is the model itself; name another folder`]
      : []
  ]
  if (problems.length > 0) return yield* usage(problems)
})

/** The request that checked options stand for; what the user left open is taken from the machine. */
export const compileRequest = (
  options: CompileOptions
): Effect.Effect<CompileRequest, never, FileSystem.FileSystem | Path.Path> =>
  Effect.gen(function*() {
    const path = yield* Path.Path
    const { modelPath, target } = options
    const stages = stagesOf(options)
    const jobs = Option.isSome(options.jobs) ? options.jobs.value : yield* physicalCores
    const maxMemory = Option.isSome(options.maxMemory) ? options.maxMemory.value : yield* halfOfFreeMemory
    return CompileRequest.make({
      modelPath,
      output: Option.getOrElse(options.output, () => outputFolder(path, modelPath)),
      configurationFile: Option.getOrUndefined(options.configurationFile),
      maxNumTokens: options.maxNumTokens,
      resume: options.resume,
      jobs,
      imageHeight: Option.getOrUndefined(options.inputHeight),
      imageWidth: Option.getOrUndefined(options.inputWidth),
      languageGroupSize: options.languageGroupSize,
      futureTokenMaskSize: options.futureTokenMaskSize,
      enableFilterSharing: options.enableFilterSharing,
      quantizeEmbeddings: options.quantizeEmbeddings,
      returnLogits: options.returnLogits,
      loras: options.loraName.flatMap((name, position): ReadonlyArray<Lora> => {
        const folder = options.loraPath[position]
        return folder === undefined ? [] : [{ name, path: folder }]
      }),
      loraRank: Option.getOrUndefined(options.loraRank),
      ...stages === undefined ? {} : { stages },
      target,
      python: Option.getOrUndefined(options.python),
      dryRun: options.dryRun,
      maxMemory,
      quality: options.quality,
      // programs for other targets do not run here; `full`, which is asked for, is refused above
      verify: target === "host" ? options.verify : "none",
      force: options.force,
      keepQuantized: options.keep,
      pack: options.pack
    })
  })
