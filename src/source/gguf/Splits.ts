/** Regular expressions that cut a text into words before merges, by the name of the cut. */
const gpt2 = String.raw`'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+`
const contraction = "(?i:'s|'t|'re|'ve|'m|'ll|'d)"
const rest = String.raw`| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+`
const llama3 = `${contraction}|${String.raw`[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}`}${rest}`
const qwen2 = `${contraction}|${String.raw`[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}`}${rest}`
const upper = String.raw`[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]`
const lower = String.raw`[\p{Ll}\p{Lm}\p{Lo}\p{M}]`
const slash = String.raw`| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+`
const tekken = `${upper}*${lower}+|${upper}+${lower}*|${String.raw`\p{N}`}${slash}`
const gpt4o = `${upper}*${lower}+${contraction}?|${upper}+${lower}*${contraction}?|${String.raw`\p{N}{1,3}`}${slash}`

/** How the texts of a byte-level vocabulary are cut; each expression cuts what the one before left. */
export interface Split {
  readonly patterns: ReadonlyArray<string>
  /** a word that is a token as it stands is not put together by merges */
  readonly whole: boolean
  /** a begin token is added where the file does not say */
  readonly begins: boolean
}

const split = (...patterns: ReadonlyArray<string>): Split => ({ patterns, whole: false, begins: false })

const digits = split(String.raw`\p{N}`, gpt2)
const llama = { ...split(llama3), whole: true, begins: true }

/**
 * Cuts by `tokenizer.ggml.pre`. The expressions are those of the models' own tokenizer.json; which name means which is
 * llama.cpp's, `llama-vocab.cpp` of ggml 0.25.
 */
export const splits: Readonly<Record<string, Split>> = {
  default: split(String.raw`[\p{P}\$\+<=>\^~\|]+`, gpt2, String.raw`\p{N}+`, "[0-9][0-9][0-9]"),
  falcon: split(String.raw`[\p{P}\$\+<=>\^~\|\x60]+`, gpt2, "[0-9][0-9][0-9]"),
  "gpt-2": split(gpt2),
  "phi-2": split(gpt2),
  olmo: split(gpt2),
  mpt: split(gpt2),
  gigachat: split(gpt2),
  exaone4: split(gpt2),
  mellum: split(gpt2),
  trillion: split(gpt2),
  smollm: digits,
  starcoder: digits,
  refact: digits,
  "command-r": digits,
  codeshell: digits,
  exaone: digits,
  "minerva-7b": digits,
  "llama-bpe": llama,
  llama3: llama,
  "llama-v3": llama,
  falcon3: llama,
  "falcon-h1": llama,
  pixtral: llama,
  "midm-2.0": llama,
  lfm2: llama,
  dbrx: split(llama3),
  "smaug-bpe": split(llama3),
  qwen2: split(qwen2),
  "deepseek-r1-qwen": split(qwen2),
  stablelm2: split(qwen2),
  megrez: split(qwen2),
  hunyuan: split(qwen2),
  tekken: { ...split(tekken), whole: true, begins: true },
  "gpt-4o": split(gpt4o),
  llama4: split(gpt4o),
  "deepseek-coder": split(
    String.raw`[\r\n]`,
    String.raw`\s?\p{L}+`,
    String.raw`\s?\p{P}+`,
    "[一-龥ࠀ-一가-퟿]+",
    String.raw`\p{N}`
  )
}
