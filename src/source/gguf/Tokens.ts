import { Result } from "effect"
import { mergesFit, MOST_MERGES } from "./Merges.ts"
import { type Metadata, quote, type Read, type Texts, unsupported, wrong } from "./Metadata.ts"
import { type Split, splits } from "./Splits.ts"
import { addedTypes, tokenTypes } from "./TokenTypes.ts"

/** Tokens with a task, by what the task is called; undefined where the vocabulary has none. */
export interface Tasks {
  readonly bos: number | undefined
  readonly eos: number | undefined
  readonly unk: number | undefined
  readonly pad: number | undefined
}

/** The tokenizer as the metadata describes it, checked. */
export interface Tokens {
  /** byte-level BPE with its merges, two tokens and a space between, or SentencePiece's BPE, whose merges follow from scores */
  readonly model:
    | { readonly kind: "bytes"; readonly split: Split; readonly merges: Texts }
    | { readonly kind: "pieces"; readonly scores: ArrayLike<number>; readonly spacePrefix: boolean }
  readonly tokens: ReadonlyArray<string>
  /** one of `tokenTypes` for each token */
  readonly types: ArrayLike<number>
  readonly tasks: Tasks
  readonly addBos: boolean
  readonly addEos: boolean
  readonly template: string | undefined
  /** tokens that end an answer */
  readonly ends: ReadonlyArray<number>
  readonly warnings: ReadonlyArray<string>
}

const KEY = "tokenizer.ggml"

// The largest vocabularies have 262,400 tokens, 3 MB of text, 6,500 of them added ones; what is larger would make us allocate for it.
const MOST_TOKENS = 2 ** 18 + 2 ** 16
const MOST_TOKEN_BYTES = 2 ** 23
const MOST_ADDED = 2 ** 16

// Tokens by which models end a turn where a file names only the end of a text. Source: llama.cpp, `llama_vocab::impl::load`.
const turnEnds: ReadonlySet<string> = new Set([
  "<|eot_id|>",
  "<|im_end|>",
  "<|end|>",
  "<end_of_turn>",
  "<|endoftext|>",
  "<|end_of_text|>",
  "<|eom_id|>",
  "<EOT>",
  "<｜end▁of▁sentence｜>"
])

const id = (meta: Metadata, name: string, count: number): Read<number | undefined> =>
  Result.flatMap(
    meta.integer(`${KEY}.${name}`, 0),
    (value) =>
      value === undefined || value < count
        ? Result.succeed(value)
        : wrong(`${KEY}.${name}`, `a token below ${count}`, `${value}`)
  )

const tokensOf = (meta: Metadata): Read<ReadonlyArray<string>> =>
  Result.gen(function*() {
    const key = `${KEY}.tokens`
    const texts = yield* meta.required(key, "an array of strings", meta.texts(key, MOST_TOKENS))
    if (texts.count === 0) return yield* wrong(key, "at least one token", "an empty array")
    const tokens: Array<string> = []
    let length = 0
    for (const text of texts) {
      if (text === undefined) return yield* wrong(`${key}[${tokens.length}]`, "a string of UTF-8", "other bytes")
      length += text.length
      if (length > MOST_TOKEN_BYTES) {
        return yield* wrong(key, `at most ${MOST_TOKEN_BYTES} characters in all tokens`, "more")
      }
      // as llama.cpp calls a token without text; joined, as a template of so many would keep its pieces
      tokens.push(text === "" ? ["[EMPTY_", tokens.length, "]"].join("") : text)
    }
    return tokens
  })

const typesOf = (meta: Metadata, count: number): Read<ArrayLike<number>> =>
  Result.gen(function*() {
    const key = `${KEY}.token_type`
    const types = (yield* meta.numbers(key, count)) ?? new Float64Array(count).fill(tokenTypes.normal)
    const added = types.reduce((sum, type) => sum + (addedTypes.has(type) ? 1 : 0), 0)
    return added > MOST_ADDED ? yield* wrong(key, `at most ${MOST_ADDED} added tokens`, `${added}`) : types
  })

const mergesOf = (meta: Metadata, tokens: ReadonlyArray<string>): Read<Texts> =>
  Result.gen(function*() {
    const key = `${KEY}.merges`
    const lines = yield* meta.required(key, "an array of strings", meta.texts(key, MOST_MERGES))
    const known = new Set(tokens)
    let index = 0
    for (const line of lines) {
      if (line === undefined) return yield* wrong(`${key}[${index}]`, "a string of UTF-8", "other bytes")
      // a space never stands in a byte-level token
      const space = line.indexOf(" ", 1)
      const left = line.slice(0, space)
      const right = line.slice(space + 1)
      if (space < 0 || !known.has(left) || !known.has(right) || !known.has(left + right)) {
        return yield* wrong(
          `${key}[${index}]`,
          "two tokens and a space between, which together are a token",
          quote(line)
        )
      }
      index++
    }
    return lines
  })

const splitOf = (meta: Metadata): Read<{ readonly split: Split; readonly warnings: ReadonlyArray<string> }> =>
  Result.gen(function*() {
    const key = `${KEY}.pre`
    const name = yield* meta.text(key)
    const split = Object.hasOwn(splits, name ?? "default") ? splits[name ?? "default"] : undefined
    if (split === undefined) {
      return yield* unsupported(key, `one of ${Object.keys(splits).join(", ")}`, quote(name ?? ""))
    }
    const warning =
      `${key} is missing: the text is cut as llama.cpp does by default, which may not be how the model was trained`
    return { split, warnings: name === undefined ? [warning] : [] }
  })

const endsOf = (
  meta: Metadata,
  tokens: ReadonlyArray<string>,
  types: ArrayLike<number>,
  eos: number | undefined
): Read<ReadonlyArray<number>> =>
  Result.gen(function*() {
    const named = [eos, yield* id(meta, "eot_token_id", tokens.length), yield* id(meta, "eom_token_id", tokens.length)]
    const known: Array<number> = []
    for (const [index, token] of tokens.entries()) {
      if (types[index] !== tokenTypes.normal && turnEnds.has(token)) known.push(index)
    }
    return [...new Set([...named.filter((one) => one !== undefined), ...known])]
  })

/** Reads and checks the tokenizer; fails for a kind that is not built. */
export const readTokens = (meta: Metadata): Read<Tokens> =>
  Result.gen(function*() {
    const kind = yield* meta.required(`${KEY}.model`, "\"gpt2\" or \"llama\"", meta.text(`${KEY}.model`))
    if (kind !== "gpt2" && kind !== "llama") {
      return yield* unsupported(
        `${KEY}.model`,
        "\"gpt2\" (byte-level BPE) or \"llama\" (SentencePiece BPE)",
        quote(kind)
      )
    }
    const tokens = yield* tokensOf(meta)
    const count = tokens.length
    const types = yield* typesOf(meta, count)
    const tasks = {
      bos: yield* id(meta, "bos_token_id", count),
      eos: yield* id(meta, "eos_token_id", count),
      unk: yield* id(meta, "unknown_token_id", count),
      pad: yield* id(meta, "padding_token_id", count)
    }
    const addBos = yield* meta.bool(`${KEY}.add_bos_token`)
    const addEos = (yield* meta.bool(`${KEY}.add_eos_token`)) ?? false
    const template = yield* meta.text("tokenizer.chat_template")
    const ends = yield* endsOf(meta, tokens, types, tasks.eos)
    const common = { tokens, types, tasks, addEos, template, ends }
    if (kind === "gpt2") {
      const { split, warnings } = yield* splitOf(meta)
      const merges = yield* mergesOf(meta, tokens)
      return yield* checked({
        ...common,
        model: { kind: "bytes", split, merges },
        addBos: addBos ?? split.begins,
        warnings
      })
    }
    const scoresKey = `${KEY}.scores`
    const scores = yield* meta.required(scoresKey, "an array of numbers", meta.numbers(scoresKey, count))
    if (!mergesFit(tokens, types)) {
      const expected = `tokens that are made of each other in at most ${MOST_MERGES} ways`
      return yield* wrong(`${KEY}.tokens`, expected, "more, or longer ones")
    }
    return yield* checked({
      ...common,
      model: {
        kind: "pieces",
        scores,
        spacePrefix: (yield* meta.bool(`${KEY}.add_space_prefix`)) ?? true
      },
      addBos: addBos ?? true,
      warnings: []
    })
  })

/** Fails where a token that is to be added is not named. */
const checked = (tokens: Tokens): Read<Tokens> =>
  tokens.addBos && tokens.tasks.bos === undefined
    ? wrong(`${KEY}.bos_token_id`, "the token that add_bos_token asks for", "no such key")
    : tokens.addEos && tokens.tasks.eos === undefined
    ? wrong(`${KEY}.eos_token_id`, "the token that add_eos_token asks for", "no such key")
    : Result.succeed(tokens)
