import { Effect, FileSystem, Path, Result } from "effect"
import type { DType } from "../tensor/DType.ts"
import { storedOf, tensorIn, type Wanted } from "../tensor/Slice.ts"
import type { Tensor } from "../tensor/Tensor.ts"
import { FileMissing } from "./FileReason.ts"
import { readGguf } from "./gguf/Gguf.ts"
import { isGguf, modelIn } from "./gguf/Parts.ts"
import { isHarmless, layersIn, neededOf } from "./Leftovers.ts"
import { DTypeUnsupported, TensorsDiffer, TensorsUnused } from "./ModelReason.ts"
import { headRead } from "./OwnHead.ts"
import { assemble } from "./quantized/Modules.ts"
import { readSettings } from "./quantized/read.ts"
import type { Format } from "./safetensors.ts"
import { readStored } from "./Shards.ts"
import { configError, SourceError } from "./SourceError.ts"
import { identify, readJson, refusePointer, type SourceFile, systemError } from "./SourceFile.ts"
import { unfitFile, unfitFolder, unfitWeights } from "./Unfit.ts"

export { familyMissing, unsupportedArchitecture } from "./Families.ts"
export { alike } from "./Likeness.ts"

/** A model on disk: its configuration, and where its tensors are. No tensor's bytes have been read, but to compare two. */
export interface Checkpoint {
  /** absolute folder */
  readonly path: string
  /** name of the folder; of the repository where the folder is a snapshot of a Hugging Face cache */
  readonly name: string
  /** a Hugging Face folder of plain numbers, a GGUF file, or a folder that was quantised before */
  readonly kind: "huggingface" | "gguf" | "quantized"
  /** config.json, untrusted; see `headRead` for what is not as in the file */
  readonly config: Readonly<Record<string, unknown>>
  /** generation_config.json, untrusted */
  readonly generationConfig: Readonly<Record<string, unknown>> | undefined
  readonly tensors: ReadonlyMap<string, Tensor>
  /** tensors in number formats that we have no dtype for */
  readonly unheld: ReadonlyMap<string, { readonly format: Format; readonly shape: ReadonlyArray<number> }>
  /** every file that was looked at, by path */
  readonly files: ReadonlyArray<SourceFile>
  /** names of the files beside the weights that exist */
  readonly companions: ReadonlyArray<string>
  /** texts of the tokenizer's files where the source holds no such files but says what is in them; by file name */
  readonly made: () => ReadonlyMap<string, string>
  /** what a user should know, one sentence each */
  readonly warnings: ReadonlyArray<string>
}

/** Files that tell how text and images become a model's input and its output text. */
const companionNames: ReadonlyArray<string> = [
  "added_tokens.json",
  "chat_template.jinja",
  "chat_template.json",
  "generation_config.json",
  "merges.txt",
  "preprocessor_config.json",
  "processor_config.json",
  "special_tokens_map.json",
  "tokenizer.json",
  "tokenizer.model",
  "tokenizer_config.json",
  "vocab.json",
  "vocab.txt"
]

/** A configuration has a few kB; some list every quantised layer. */
const maxConfigBytes = 16 * 2 ** 20

const isObject = (value: unknown): value is Readonly<Record<string, unknown>> =>
  typeof value === "object" && value !== null && !Array.isArray(value)

const readObject = Effect.fn("Checkpoint.readObject")(function*(path: string) {
  const { file, json } = yield* readJson(path, maxConfigBytes, "python")
  if (isObject(json)) return { file, json }
  const found = Array.isArray(json) ? "an array" : JSON.stringify(json)
  return yield* configError(path, [{ path: "(top level)", expected: "a JSON object", found, unsupported: false }])
})

/** `models--org--name/snapshots/<commit>` of a Hugging Face cache is called `name`. */
const nameOf = (paths: Path.Path, folder: string): string => {
  const parent = paths.dirname(folder)
  const repository = paths.basename(paths.dirname(parent))
  return paths.basename(parent) === "snapshots" && repository.startsWith("models--")
    ? repository.split("--").at(-1) ?? repository
    : paths.basename(folder) || "model"
}

/** Opens the checkpoint at `given`, recognised by what is there; reads its configuration and the headers of its weights. */
export const open = Effect.fn("Checkpoint.open")(function*(given: string) {
  const fs = yield* FileSystem.FileSystem
  const paths = yield* Path.Path
  const folder = paths.resolve(given)
  yield* Effect.annotateCurrentSpan({ path: folder })
  const info = yield* Effect.mapError(fs.stat(folder), systemError(folder))
  if (info.type !== "Directory") {
    return (yield* isGguf(folder)) ? yield* readGguf(folder) : yield* yield* unfitFile(folder)
  }
  const names = (yield* Effect.mapError(fs.readDirectory(folder), systemError(folder))).sort()
  const gguf = modelIn(names)
  if (gguf !== undefined) return yield* readGguf(paths.join(folder, gguf))
  if (!names.includes("config.json")) return yield* unfitFolder(folder, names)
  const configPath = paths.join(folder, "config.json")
  const config = yield* readObject(configPath)
  const said = yield* readSettings(configPath, config.json, names)
  const stored = yield* readStored(folder, names)
  if (stored === undefined) return yield* unfitWeights(folder, names)
  const quantized = said === undefined ? undefined : yield* assemble(said.path, said.settings, stored.tensors)
  if (!names.includes("tokenizer.json")) {
    const advice = names.some((name) => name === "tokenizer.model" || name === "vocab.json")
      ? "make it with AutoTokenizer.from_pretrained(folder).save_pretrained(folder) of transformers"
      : "download it from the model's page into this folder"
    const reason = new FileMissing({ file: "tokenizer.json", purpose: "it turns text into tokens and back", advice })
    return yield* new SourceError({ path: folder, reason })
  }
  const companions = companionNames.filter((name) => names.includes(name))
  const beside = yield* Effect.forEach(companions, (name) => {
    const path = paths.join(folder, name)
    return Effect.andThen(refusePointer(path), identify(path))
  })
  const generation = companions.includes("generation_config.json")
    ? yield* readObject(paths.join(folder, "generation_config.json"))
    : undefined
  const remote = config.json["auto_map"] === undefined
    ? []
    : [
      "config.json has auto_map: the model's own Python code is not run; if it computes something else, the result differs"
    ]
  const tensors = quantized?.tensors ?? stored.tensors
  const head = yield* headRead(config.json, tensors)
  const checkpoint: Checkpoint = {
    path: folder,
    name: nameOf(paths, folder),
    kind: quantized === undefined ? "huggingface" : "quantized",
    config: head.config,
    generationConfig: generation?.json,
    tensors,
    unheld: stored.unheld,
    files: [config.file, ...said?.file === undefined ? [] : [said.file], ...stored.files, ...beside].sort((a, b) =>
      a.path < b.path ? -1 : 1
    ),
    companions,
    made: () => new Map(),
    warnings: [...remote, ...head.warnings, ...stored.warnings, ...quantized?.warnings ?? []]
  }
  return checkpoint
})

/** A tensor that the configuration asks for (`Expected` of arch). */
export type ExpectedTensor = Wanted

/** The tensors that were asked for, and the names of those that nobody asked for. */
export interface Found {
  /** defined for every expected tensor; any other name is a defect */
  readonly weights: (name: string) => Tensor
  /** harmless leftovers (rotary tables, the head of a tied model) left out */
  readonly unused: ReadonlyArray<string>
}

const sameShape = (a: ReadonlyArray<number>, b: ReadonlyArray<number>): boolean =>
  a.length === b.length && a.every((dim, index) => dim === b[index])

const hintsFor = (
  held: ReadonlyArray<string>,
  expected: ReadonlyArray<{ readonly name: string }>,
  missing: string
): ReadonlyArray<string> => {
  const claimed = layersIn(expected.map(({ name }) => name))
  const found = layersIn(held)
  const similar = held.find((name) => name.endsWith(`.${missing}`) || missing.endsWith(`.${name}`))
  return [
    ...(claimed === found ? [] : [`config.json asks for ${claimed} layers, the files hold ${found}`]),
    ...(similar === undefined ? [] : [`the files hold ${similar} instead of ${missing}`])
  ]
}

/**
 * Checks that the checkpoint has each expected tensor in its shape and in one of `dtypes`, and none beside without which the model is
 * another; names all that fail at once. `others`: what else may explain tensors that differ.
 */
export const expect = (
  checkpoint: Checkpoint,
  expected: ReadonlyArray<ExpectedTensor>,
  dtypes: ReadonlyArray<DType>,
  others: () => ReadonlyArray<string> = () => []
): Result.Result<Found, SourceError> => {
  const { tensors, unheld } = checkpoint
  const files = checkpoint.files.filter(({ path }) => path.endsWith(".safetensors"))
  const path = files.length === 1 ? files[0]?.path ?? checkpoint.path : checkpoint.path
  const failed = (reason: SourceError["reason"]) => Result.fail(new SourceError({ path, reason }))
  const held = [...tensors.keys(), ...unheld.keys()]
  const stored = storedOf(expected)
  const sliced = new Set(expected.flatMap(({ within }) => within === undefined ? [] : [within.name]))
  const pairs = stored.map(({ name, shape }) => ({ name, shape, found: tensors.get(name), other: unheld.get(name) }))
  const missing = pairs.filter(({ found, other }) => found === undefined && other === undefined)
  const misshapen = pairs.flatMap(({ found, name, other, shape }) => {
    const actual = (found ?? other)?.shape
    return actual === undefined || sameShape(actual, shape) ? [] : [{ tensor: name, expected: shape, found: actual }]
  })
  if (missing.length > 0 || misshapen.length > 0) {
    const hints = missing[0] === undefined ? [] : hintsFor(held, expected, missing[0].name)
    const absent = missing.map(({ name, shape }) => ({ tensor: name, shape }))
    return failed(new TensorsDiffer({ missing: absent, misshapen, hints: [...hints, ...others()] }))
  }
  const wrong = pairs.flatMap(({ found, name, other }) => {
    // slices are cut out of plain numbers
    const code = sliced.has(name) ? found?.coded?.format : undefined
    const dtype = code ?? found?.dtype ?? other?.format ?? ""
    return dtypes.some((one) => one === dtype) ? [] : [{ tensor: name, dtype }]
  })
  if (wrong.length > 0) return failed(new DTypeUnsupported({ tensors: wrong, supported: dtypes }))
  const asked = new Map(expected.map((one) => [one.name, one]))
  const used = new Set(stored.map(({ name }) => name))
  const unused = held.filter((name) => !used.has(name) && !isHarmless(name))
  const needed = neededOf(unused, [...used], tensors)
  if (needed.length > 0) return failed(new TensorsUnused({ tensors: needed, hints: others() }))
  return Result.succeed({
    weights: (name) => {
      const one = asked.get(name)
      const tensor = one === undefined ? undefined : tensorIn(tensors, one)
      if (tensor === undefined) throw new Error(`${name} was not among the expected tensors`)
      return tensor
    },
    unused
  })
}
