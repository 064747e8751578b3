import { idsOf, mergesOf } from "./Merges.ts"
import type { Tokens } from "./Tokens.ts"
import { addedTypes, tokenTypes } from "./TokenTypes.ts"

const SPACE = "▁"

// Phi-3 drops the spaces behind these. Source: tokenizer.json of Phi-3 and 3.5; llama.cpp does so by the model's name.
const keepsSpace: ReadonlySet<string> = new Set(["<unk>", "<s>", "<|endoftext|>"])

function* addedTokens({ tokens, types }: Tokens, dropsSpace: boolean): Generator<string> {
  for (const [id, content] of tokens.entries()) {
    const type = types[id] ?? tokenTypes.normal
    if (!addedTypes.has(type)) continue
    const special = type !== tokenTypes.userDefined
    const rstrip = dropsSpace && ((special && !keepsSpace.has(content)) || content === "</s>")
    yield JSON.stringify({ id, content, single_word: false, lstrip: false, rstrip, normalized: false, special })
  }
}

const postProcessor = ({ addBos, addEos, tasks, tokens }: Tokens) => {
  const before = addBos ? tasks.bos : undefined
  const after = addEos ? tasks.eos : undefined
  if (before === undefined && after === undefined) return null
  const one = (id: number | undefined) =>
    id === undefined ? [] : [{ SpecialToken: { id: tokens[id] ?? "", type_id: 0 } }]
  const sequence = (id: "A" | "B") => [...one(before), { Sequence: { id, type_id: 0 } }, ...one(after)]
  const special = (id: number | undefined) =>
    id === undefined ? {} : { [tokens[id] ?? ""]: { id: tokens[id] ?? "", ids: [id], tokens: [tokens[id] ?? ""] } }
  return {
    type: "TemplateProcessing",
    single: sequence("A"),
    pair: [...sequence("A"), ...sequence("B")],
    special_tokens: { ...special(before), ...special(after) }
  }
}

const bpe = (unk: string | null, byteFallback: boolean, ignoreMerges: boolean) => ({
  type: "BPE",
  dropout: null,
  unk_token: unk,
  continuing_subword_prefix: null,
  end_of_word_suffix: null,
  fuse_unk: byteFallback,
  byte_fallback: byteFallback,
  ignore_merges: ignoreMerges
})

const cuts = (patterns: ReadonlyArray<string>) => ({
  type: "Sequence",
  pretokenizers: [
    ...patterns.map((Regex) => ({ type: "Split", pattern: { Regex }, behavior: "Isolated", invert: false })),
    { type: "ByteLevel", add_prefix_space: false, trim_offsets: true, use_regex: false }
  ]
})

const byteLevel = { type: "ByteLevel", add_prefix_space: true, trim_offsets: true, use_regex: true }

const spaces = (prefix: boolean) => ({
  type: "Sequence",
  normalizers: [
    ...(prefix ? [{ type: "Prepend", prepend: SPACE }] : []),
    { type: "Replace", pattern: { String: " " }, content: SPACE }
  ]
})

const pieces = (prefix: boolean) => ({
  type: "Sequence",
  decoders: [
    { type: "Replace", pattern: { String: SPACE }, content: " " },
    { type: "ByteFallback" },
    { type: "Fuse" },
    ...(prefix ? [{ type: "Strip", content: " ", start: 1, stop: 0 }] : [])
  ]
})

/** Items that become one text at a time: a vocabulary has 300,000, and a text for each takes more memory than all of them in one. */
const CHUNK_ITEMS = 4096

const joined = (items: Iterable<string>): string => {
  const chunks: Array<string> = []
  let chunk: Array<string> = []
  for (const item of items) {
    chunk.push(item)
    if (chunk.length < CHUNK_ITEMS) continue
    chunks.push(chunk.join(","))
    chunk = []
  }
  return [...chunks, ...chunk.length === 0 ? [] : [chunk.join(",")]].join(",")
}

function* mapped<A>(items: Iterable<A>, text: (item: A) => string): Generator<string> {
  for (const item of items) yield text(item)
}

/** The text of an object that goes on with what `rest` has after its keys. */
const objectWith = (start: object, rest: Readonly<Record<string, string>>): string =>
  `${JSON.stringify(start).slice(0, -1)}${Object.entries(rest).map(([key, text]) => `,"${key}":${text}`).join("")}}`

const modelOf = ({ model, tasks, tokens, types }: Tokens): string => {
  const ids = idsOf(tokens)
  const vocab = `{${joined(mapped(ids, ([token, id]) => `${JSON.stringify(token)}:${id}`))}}`
  const merges: Iterable<unknown> = model.kind === "bytes"
    ? model.merges
    : mergesOf(tokens, types, model.scores, ids)
  const unk = tasks.unk === undefined ? null : tokens[tasks.unk] ?? null
  return objectWith(model.kind === "bytes" ? bpe(null, false, model.split.whole) : bpe(unk, true, false), {
    vocab,
    merges: `[${joined(mapped(merges, (merge) => JSON.stringify(merge)))}]`
  })
}

/** tokenizer.json of Hugging Face's tokenizers, version 1.0. `dropsSpace`: special tokens take the spaces behind them. */
const tokenizerJson = (made: Tokens, dropsSpace: boolean): string => {
  const { model } = made
  const [normalizer, cutter, decoder] = model.kind === "bytes"
    ? [null, cuts(model.split.patterns), byteLevel]
    : [spaces(model.spacePrefix), null, pieces(model.spacePrefix)]
  return objectWith({ version: "1.0", truncation: null, padding: null }, {
    added_tokens: `[${joined(addedTokens(made, dropsSpace))}]`,
    normalizer: JSON.stringify(normalizer),
    pre_tokenizer: JSON.stringify(cutter),
    post_processor: JSON.stringify(postProcessor(made)),
    decoder: JSON.stringify(decoder),
    model: modelOf(made)
  })
}

const taskNames = { bos: "bos_token", eos: "eos_token", unk: "unk_token", pad: "pad_token" } as const

const tasksOf = ({ tasks, tokens }: Tokens): Readonly<Record<string, string>> => {
  const named: Record<string, string> = {}
  for (const task of ["bos", "eos", "unk", "pad"] as const) {
    const id = tasks[task]
    if (id !== undefined) named[taskNames[task]] = tokens[id] ?? ""
  }
  return named
}

const json = (value: unknown): string => `${JSON.stringify(value, undefined, 2)}\n`

/** The files of a Hugging Face folder's tokenizer, by name, as texts. */
export const tokenizerFiles = (
  tokens: Tokens,
  options: { readonly dropsSpace: boolean; readonly positions: number }
): ReadonlyMap<string, string> => {
  const config = {
    tokenizer_class: "PreTrainedTokenizerFast",
    clean_up_tokenization_spaces: false,
    model_max_length: options.positions,
    add_bos_token: tokens.addBos,
    add_eos_token: tokens.addEos,
    ...tasksOf(tokens),
    ...(tokens.template === undefined ? {} : { chat_template: tokens.template })
  }
  return new Map([
    ["tokenizer.json", `${tokenizerJson(tokens, options.dropsSpace)}\n`],
    ["tokenizer_config.json", json(config)],
    ["special_tokens_map.json", json(tasksOf(tokens))]
  ])
}
