import { Effect, FileSystem, Path, Result, Schema } from "effect"
import { DevkitError } from "./DevkitError.ts"
import { makeTokenizerProcess, type TextFile, type TokenizerFiles, usualLimits } from "./TokenizerProcess.ts"

/** Files that turn text into tokens and back, and say how to ask; copied byte for byte where the checkpoint has them. */
export const tokenizerFiles = [
  "tokenizer.json",
  "tokenizer_config.json",
  "special_tokens_map.json",
  "chat_template.jinja",
  "generation_config.json"
] as const

/** Tokens that end an answer, and the one that begins a text. */
export interface EndTokens {
  readonly eos: ReadonlyArray<number>
  readonly bos: number | undefined
}

/** A file for the devkit folder. */
export interface DevkitFile {
  readonly name: string
  readonly bytes: Uint8Array
}

// The largest vocabularies today take 35 MB.
const largestFile = 256 * 2 ** 20

const Added = Schema.Struct({ id: Schema.Int, content: Schema.String })
// The vocabulary is looked at by hand: a Schema takes 45 ms for 49,000 tokens, this takes 20.
const TokenizerJson = Schema.Struct({
  added_tokens: Schema.optionalKey(Schema.NullOr(Schema.Array(Added))),
  model: Schema.Struct({ vocab: Schema.Unknown })
})

const invalid = (path: string, at: string, expected: string, found: string) =>
  new DevkitError({ path, at, expected, found, advice: "take the file of this model, or download it again" })

const parse = (path: string, text: string): Result.Result<unknown, DevkitError> =>
  Result.try({
    try: (): unknown => JSON.parse(text),
    catch: (cause) => invalid(path, "", "JSON", cause instanceof Error ? cause.message : String(cause))
  })

const isId = (value: unknown): value is number => Number.isSafeInteger(value) && typeof value === "number" && value >= 0

interface Token {
  readonly content: string
  readonly id: number
}

/** The token with the largest id of `{ token: id }`, or of Unigram's `[[token, score]]`; undefined where it is neither. */
const lastOf = (vocab: unknown): Token | undefined => {
  if (Array.isArray(vocab)) return { content: "the last one", id: vocab.length - 1 }
  if (typeof vocab !== "object" || vocab === null) return undefined
  let last: Token = { content: "", id: -1 }
  for (const [content, id] of Object.entries(vocab)) {
    if (!isId(id)) return undefined
    if (id > last.id) last = { content, id }
  }
  return last
}

/** Tokens of a tokenizer.json (largest id + 1). Fails for what is none, and for ids that the model has no embedding for. */
export const checkTokenizer = (path: string, text: string, vocabulary: number): Result.Result<number, DevkitError> =>
  Result.gen(function*() {
    const wrong = (found: string) =>
      invalid(path, "model.vocab, added_tokens", "a tokenizer of Hugging Face's tokenizers", found)
    const json = yield* parse(path, text)
    const { added_tokens, model } = yield* Result.mapError(
      Schema.decodeUnknownResult(TokenizerJson)(json),
      (error) => wrong(error.message)
    )
    const inModel = lastOf(model.vocab)
    if (inModel === undefined) return yield* Result.fail(wrong("a vocabulary that is no object of ids and no list"))
    const { content, id } = (added_tokens ?? []).reduce<Token>((a, b) => b.id > a.id ? b : a, inModel)
    if (id >= vocabulary) {
      return yield* Result.fail(
        invalid(path, "", `ids below ${vocabulary}, the model's vocabulary`, `id ${id} (${JSON.stringify(content)})`)
      )
    }
    return id + 1
  })

const idsOf = (path: string, key: string, value: unknown, vocabulary: number) => {
  const ids: ReadonlyArray<unknown> = Array.isArray(value) ? value : [value]
  const bad = ids.findIndex((id) => !isId(id) || id >= vocabulary)
  return bad < 0
    ? Result.succeed(ids.filter(isId))
    : Result.fail(
      invalid(
        path,
        key,
        `token ids below ${vocabulary}, the model's vocabulary`,
        JSON.stringify(ids[bad]) ?? "undefined"
      )
    )
}

/** From generation_config.json where that names them, else from config.json; both untrusted. No `eos` is no error. */
export const endTokens = (
  generationConfig: Readonly<Record<string, unknown>> | undefined,
  config: Readonly<Record<string, unknown>>,
  vocabulary: number
): Result.Result<EndTokens, DevkitError> => {
  const text = config["text_config"]
  const inner = typeof text === "object" && text !== null ? text : {}
  const sources: ReadonlyArray<readonly [string, object]> = [
    ["generation_config.json", generationConfig ?? {}],
    ["config.json", config],
    ["config.json, text_config", inner]
  ]
  const find = (key: string): Result.Result<ReadonlyArray<number>, DevkitError> => {
    for (const [path, source] of sources) {
      const value: unknown = Object.entries(source).find(([name]) => name === key)?.[1]
      if (value !== undefined && value !== null) return idsOf(path, key, value, vocabulary)
    }
    return Result.succeed([])
  }
  return Result.gen(function*() {
    const eos = yield* find("eos_token_id")
    const bos = yield* find("bos_token_id")
    return { eos: [...new Set(eos)], bos: bos[0] }
  })
}

/** What of a file a run opens; `fileOf` gives undefined for what is not there. */
const filesOf = (fileOf: (name: string) => TextFile | undefined): TokenizerFiles => ({
  "tokenizer.json": fileOf("tokenizer.json") ?? { text: "" },
  "tokenizer_config.json": fileOf("tokenizer_config.json"),
  "chat_template.jinja": fileOf("chat_template.jinja")
})

/** Opens a tokenizer and its chat template as a run will; `pathOf` is what errors call a file. */
const checkOpens = Effect.fn("Tokenizer.checkOpens")(
  function*(files: TokenizerFiles, pathOf: (name: string) => string, limits = usualLimits) {
    const ask = yield* makeTokenizerProcess(limits)
    const opened = yield* ask({ kind: "open", files, limits })
    if (opened.kind === "damaged") return yield* invalid(pathOf(opened.file), "", opened.expected, opened.found)
    if (opened.kind !== "opened") {
      const found = "detail" in opened ? opened.detail : opened.kind
      return yield* invalid(pathOf("tokenizer.json"), "", "a tokenizer that can be opened", found)
    }
    const parsed = yield* ask({ kind: "parse" })
    if ("detail" in parsed) {
      const name = files["chat_template.jinja"] === undefined ? "tokenizer_config.json" : "chat_template.jinja"
      const at = files["chat_template.jinja"] === undefined ? "chat_template" : ""
      return yield* invalid(pathOf(name), at, "a template that @huggingface/jinja reads", parsed.detail)
    }
  },
  Effect.scoped
)

/** Tokenizer files that a source does not hold but tells, opened once as a run will; `source` is what errors name. */
export const madeTokenizer = Effect.fn("Tokenizer.made")(function*(
  source: string,
  texts: ReadonlyMap<string, string>,
  vocabulary: number
) {
  yield* Effect.fromResult(checkTokenizer(source, texts.get("tokenizer.json") ?? "", vocabulary))
  const fileOf = (name: string) => {
    const text = texts.get(name)
    return text === undefined ? undefined : { text }
  }
  yield* checkOpens(filesOf(fileOf), () => source)
  const encoder = new TextEncoder()
  return Array.from(texts, ([name, text]): DevkitFile => ({ name, bytes: encoder.encode(text) }))
})

/** The tokenizer files that the folder has, tokenizer.json checked against the model's vocabulary and opened once as a run will. */
export const readTokenizer = Effect.fn("Tokenizer.read")(function*(folder: string, vocabulary: number) {
  const fs = yield* FileSystem.FileSystem
  const path = yield* Path.Path
  const files: Array<DevkitFile> = []
  for (const name of tokenizerFiles) {
    const file = path.join(folder, name)
    const unreadable = (cause: { readonly message: string }) =>
      invalid(file, "", "a file that can be read", cause.message)
    if (!(yield* Effect.mapError(fs.exists(file), unreadable))) continue
    const size = Number((yield* Effect.mapError(fs.stat(file), unreadable)).size)
    if (size > largestFile) {
      return yield* invalid(file, "", `at most ${largestFile} bytes`, `${size} bytes`)
    }
    const bytes = yield* Effect.mapError(fs.readFile(file), unreadable)
    if (name === "tokenizer.json") {
      yield* Effect.fromResult(checkTokenizer(file, new TextDecoder().decode(bytes), vocabulary))
    }
    files.push({ name, bytes })
  }
  const there = (name: string) => files.some((file) => file.name === name)
  const pathOf = (name: string) => path.resolve(folder, name)
  if (there("tokenizer.json")) {
    yield* checkOpens(
      filesOf((name) => there(name) ? { path: pathOf(name) } : undefined),
      (name) => path.join(folder, name)
    )
  }
  return files
})
