import { type Tokens, tokenTypes } from "./Tokens.ts"

const SPACE = "▁"

const added: ReadonlySet<number> = new Set([tokenTypes.unknown, tokenTypes.control, tokenTypes.userDefined])

// Phi-3 drops the spaces behind these. Source: tokenizer.json of Phi-3 and 3.5; llama.cpp does so by the model's name.
const keepsSpace: ReadonlySet<string> = new Set(["<unk>", "<s>", "<|endoftext|>"])

const addedTokens = ({ tokens, types }: Tokens, dropsSpace: boolean) =>
  tokens.flatMap((content, id) => {
    const type = types[id] ?? tokenTypes.normal
    if (!added.has(type)) return []
    const special = type !== tokenTypes.userDefined
    const rstrip = dropsSpace && ((special && !keepsSpace.has(content)) || content === "</s>")
    return [{ id, content, single_word: false, lstrip: false, rstrip, normalized: false, special }]
  })

/**
 * Merges that do what SentencePiece does with scores: of all pairs of pieces that make a piece, the one with the best score
 * first. Source: transformers 5.23 `generate_merges`, from which Hugging Face's own tokenizer.json files come.
 */
export const mergesOf = (
  tokens: ReadonlyArray<string>,
  types: ReadonlyArray<number>,
  scores: ReadonlyArray<number>
): ReadonlyArray<readonly [string, string]> => {
  const ids = new Map(tokens.map((token, id) => [token, id]))
  const merges: Array<{ readonly left: string; readonly right: string; readonly score: number; readonly id: number }> =
    []
  for (const [token, id] of ids) {
    const type = types[id] ?? tokenTypes.normal
    if (type !== tokenTypes.normal && type !== tokenTypes.unused) continue
    for (let at = 1; at < token.length; at++) {
      const left = token.slice(0, at)
      const right = token.slice(at)
      if (ids.has(left) && ids.has(right)) merges.push({ left, right, score: scores[id] ?? 0, id })
    }
  }
  merges.sort((a, b) =>
    b.score - a.score || b.left.length - a.left.length || b.right.length - a.right.length || a.id - b.id
  )
  return merges.map(({ left, right }) => [left, right] as const)
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

const vocabOf = (tokens: ReadonlyArray<string>): Readonly<Record<string, number>> =>
  Object.fromEntries(tokens.map((token, id) => [token, id]))

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

/** tokenizer.json of Hugging Face's tokenizers, version 1.0. `dropsSpace`: special tokens take the spaces behind them. */
const tokenizerJson = (made: Tokens, dropsSpace: boolean) => {
  const { model, tasks, tokens, types } = made
  const frame = { version: "1.0", truncation: null, padding: null, added_tokens: addedTokens(made, dropsSpace) }
  const vocab = vocabOf(tokens)
  if (model.kind === "bytes") {
    return {
      ...frame,
      normalizer: null,
      pre_tokenizer: cuts(model.split.patterns),
      post_processor: postProcessor(made),
      decoder: byteLevel,
      model: { ...bpe(null, false, model.split.whole), vocab, merges: model.merges }
    }
  }
  const unk = tasks.unk === undefined ? null : tokens[tasks.unk] ?? null
  return {
    ...frame,
    normalizer: spaces(model.spacePrefix),
    pre_tokenizer: null,
    post_processor: postProcessor(made),
    decoder: pieces(model.spacePrefix),
    model: { ...bpe(unk, true, false), vocab, merges: mergesOf(tokens, types, model.scores) }
  }
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
    ["tokenizer.json", `${JSON.stringify(tokenizerJson(tokens, options.dropsSpace))}\n`],
    ["tokenizer_config.json", json(config)],
    ["special_tokens_map.json", json(tasksOf(tokens))]
  ])
}
