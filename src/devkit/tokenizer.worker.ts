// The process of a tokenizer: what a checkpoint brings along runs here, within limits. Without Effect, whose start counts here.
import { Template } from "@huggingface/jinja"
import { Tokenizer } from "@huggingface/tokenizers"
import { readFileSync } from "node:fs"
import { createContext, Script } from "node:vm"
import { decodeBytes, idsWithBytes } from "./ByteFallback.ts"
import type { Answer, Failed, Limits, Question, TextFile, TokenizerFiles } from "./TokenizerProcess.ts"

type Json = Readonly<Record<string, unknown>>

interface Opened {
  readonly limits: Limits
  readonly template: string | undefined
  /** what templates know of special tokens, by the key in tokenizer_config.json */
  readonly specials: Readonly<Record<string, string>>
  readonly encode: (text: string, special: boolean) => ReadonlyArray<number>
  readonly decode: (ids: ReadonlyArray<number>) => string
}

let open: Opened | undefined

// Of Hugging Face's tokenizers; the library takes files of other kinds for word lists. Old files name none.
const kinds: ReadonlyArray<unknown> = ["BPE", "Unigram", "WordPiece", "WordLevel", undefined]

const textOf = (cause: unknown): string => cause instanceof Error ? cause.message : String(cause)

const isObject = (value: unknown): value is Json => typeof value === "object" && value !== null && !Array.isArray(value)

/** Thrown where a file is not what it should be; nothing is answered but this. */
class Unfit extends Error {
  readonly answer: Answer
  constructor(file: keyof TokenizerFiles, expected: string, found: string) {
    super(found)
    this.answer = { kind: "damaged", file, expected, found }
  }
}

const trying = <A>(file: keyof TokenizerFiles, expected: string, make: () => A): A => {
  try {
    return make()
  } catch (cause) {
    throw new Unfit(file, expected, textOf(cause))
  }
}

const contentOf = (file: TextFile): string => "text" in file ? file.text : readFileSync(file.path, "utf8")

const read = (name: keyof TokenizerFiles, files: TokenizerFiles): string | undefined => {
  const file = files[name]
  return file === undefined ? undefined : trying(name, "a file that can be read", () => contentOf(file))
}

const readJson = (name: "tokenizer.json" | "tokenizer_config.json", files: TokenizerFiles): Json => {
  const text = read(name, files) ?? "{}"
  const json = trying(name, "a JSON object", (): unknown => JSON.parse(text))
  if (!isObject(json)) throw new Unfit(name, "a JSON object", "JSON of another kind")
  return json
}

/** The template that a tokenizer_config.json names: a text, or the default one of a list. */
const templateOf = (own: unknown): string | undefined => {
  const list: ReadonlyArray<unknown> = Array.isArray(own) ? own : [own]
  const named = list.find((one) => isObject(one) && one["name"] === "default") ?? list[0] ?? undefined
  const found = isObject(named) ? named["template"] : named
  if (typeof found === "string" || named === undefined) return typeof found === "string" ? found : undefined
  throw new Unfit("tokenizer_config.json", "chat_template to be a text, or a list of { name, template }", typeof found)
}

const specialsOf = (config: Json): Readonly<Record<string, string>> =>
  Object.fromEntries(
    ["bos_token", "eos_token", "pad_token", "unk_token"].flatMap((name) => {
      const special = config[name]
      const text = isObject(special) ? special["content"] : special
      return typeof text === "string" ? [[name, text] as const] : []
    })
  )

const libraryOf = (json: Json, model: Json, config: Json): Pick<Opened, "encode" | "decode"> => {
  const tokenizer = new Tokenizer(json, config)
  const bytesInUnigram = model["type"] === "Unigram" && model["byte_fallback"] === true
  const unknown = typeof model["unk_id"] === "number" ? model["unk_id"] : 0
  const fallsBack = JSON.stringify(json["decoder"] ?? null).includes("\"ByteFallback\"")
  const plain = (ids: ReadonlyArray<number>): string =>
    ids.length === 0
      ? ""
      : tokenizer.decode([...ids], { skip_special_tokens: true, clean_up_tokenization_spaces: false })
  return {
    encode: (text, special) =>
      bytesInUnigram
        ? idsWithBytes(tokenizer.tokenize(text, { add_special_tokens: special }), tokenizer, unknown)
        : tokenizer.encode(text, { add_special_tokens: special }).ids,
    decode: (ids) => fallsBack ? decodeBytes(ids, tokenizer, plain) : plain(ids)
  }
}

const opened = (files: TokenizerFiles, limits: Limits): Answer => {
  const json = readJson("tokenizer.json", files)
  const { model } = json
  if (!isObject(model) || !kinds.includes(model["type"])) {
    const found = isObject(model) ? `type ${JSON.stringify(model["type"])}` : "none"
    throw new Unfit("tokenizer.json", "a model of type BPE, Unigram, WordPiece or WordLevel", found)
  }
  const config = readJson("tokenizer_config.json", files)
  const template = read("chat_template.jinja", files) ?? templateOf(config["chat_template"])
  const library = trying(
    "tokenizer.json",
    "a tokenizer that @huggingface/tokenizers reads",
    () => libraryOf(json, model, config)
  )
  open = { limits, template, specials: specialsOf(config), ...library }
  return { kind: "opened" }
}

const parsed = (template: string): Template => new Template(template)

const failed = (kind: Failed["kind"], detail: string): Failed => ({ kind, detail })

const answerOf = (question: Question): Answer => {
  if (question.kind === "open") return opened(question.files, question.limits)
  if (open === undefined) return failed("failed", "no tokenizer is open")
  const { decode, encode, limits, specials, template } = open
  const long = failed("limit", `gave more than ${limits.characters} characters`)
  switch (question.kind) {
    case "encode": {
      const ids = encode(question.text, question.special)
      return ids.length > limits.characters ? long : { kind: "ids", ids }
    }
    case "decode": {
      const texts = question.lists.map(decode)
      return texts.some(({ length }) => length > limits.characters) ? long : { kind: "texts", texts }
    }
    case "parse": {
      if (template !== undefined) parsed(template)
      return { kind: "texts", texts: [] }
    }
    case "render": {
      if (template === undefined) return failed("failed", "the model has none")
      const { addGenerationPrompt, messages } = question
      const text = parsed(template).render({ ...specials, messages, add_generation_prompt: addGenerationPrompt })
      return text.length > limits.characters ? long : { kind: "texts", texts: [text] }
    }
  }
}

// A script's time can be limited, from a thread that V8 lets interrupt loops and patterns: this process ends no later than its
// question does, whatever becomes of the one that asked.
let work = (): Answer => failed("failed", "nothing was asked")
const context = createContext({ work: () => work() })
const script = new Script("work()")

// An error of the context's own kind.
const isTimeout = (cause: unknown): boolean =>
  typeof cause === "object" && cause !== null && "code" in cause && cause.code === "ERR_SCRIPT_EXECUTION_TIMEOUT"

const within = (seconds: number, question: Question): Answer => {
  work = () => answerOf(question)
  try {
    const answer: Answer = script.runInContext(context, { timeout: Math.ceil(seconds * 1000) })
    return answer
  } catch (cause) {
    if (cause instanceof Unfit) return cause.answer
    return isTimeout(cause)
      ? failed("limit", `took longer than ${seconds} s`)
      : failed("failed", textOf(cause))
  }
}

process.on("message", (question: Question) => {
  const seconds = question.kind === "open" ? question.limits.openingSeconds : open?.limits.seconds ?? 1
  process.send?.(within(seconds, question))
})
