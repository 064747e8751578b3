import { Result } from "effect"
import { type Metadata, quote, type Read, unsupported, wrong } from "./Metadata.ts"
import { type Split, splits } from "./Splits.ts"

/** What a token is. Source: ggml docs/gguf.md, `tokenizer.ggml.token_type`. */
export const tokenTypes = { normal: 1, unknown: 2, control: 3, userDefined: 4, unused: 5, byte: 6 } as const

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
    | { readonly kind: "bytes"; readonly split: Split; readonly merges: ReadonlyArray<string> }
    | { readonly kind: "pieces"; readonly scores: ReadonlyArray<number>; readonly spacePrefix: boolean }
  readonly tokens: ReadonlyArray<string>
  /** one of `tokenTypes` for each token */
  readonly types: ReadonlyArray<number>
  readonly tasks: Tasks
  readonly addBos: boolean
  readonly addEos: boolean
  readonly template: string | undefined
  /** tokens that end an answer */
  readonly ends: ReadonlyArray<number>
  readonly warnings: ReadonlyArray<string>
}

const KEY = "tokenizer.ggml"

// The largest vocabularies have 262,000 tokens and 515,000 merges; what is larger would make us allocate for it.
const MOST_TOKENS = 2 ** 19
const MOST_MERGES = 2 ** 20

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

const mergesOf = (meta: Metadata, tokens: ReadonlyArray<string>): Read<ReadonlyArray<string>> =>
  Result.gen(function*() {
    const key = `${KEY}.merges`
    const lines = yield* meta.required(key, "an array of strings", meta.texts(key, MOST_MERGES))
    const known = new Set(tokens)
    for (const [index, line] of lines.entries()) {
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
  types: ReadonlyArray<number>,
  eos: number | undefined
): Read<ReadonlyArray<number>> =>
  Result.gen(function*() {
    const named = [eos, yield* id(meta, "eot_token_id", tokens.length), yield* id(meta, "eom_token_id", tokens.length)]
    const known = tokens.flatMap((token, index) =>
      types[index] !== tokenTypes.normal && turnEnds.has(token) ? [index] : []
    )
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
    const listed = yield* meta.required(
      `${KEY}.tokens`,
      "an array of strings",
      meta.texts(`${KEY}.tokens`, MOST_TOKENS)
    )
    const count = listed.length
    if (count === 0) return yield* wrong(`${KEY}.tokens`, "at least one token", "an empty array")
    // as llama.cpp calls a token without text
    const tokens = listed.map((token, index) => token === "" ? `[EMPTY_${index}]` : token)
    const types = (yield* meta.numbers(`${KEY}.token_type`, count)) ??
      tokens.map(() => tokenTypes.normal)
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
    const scores = meta.numbers(scoresKey, count)
    return yield* checked({
      ...common,
      model: {
        kind: "pieces",
        scores: yield* meta.required(scoresKey, "an array of numbers", scores),
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
