import { Result } from "effect"
import type { Checkpoint } from "./Checkpoint.ts"
import { ofTower } from "./Leftovers.ts"
import { type Difference, type Family, type Likeness, likenesses } from "./Likeness.ts"
import { UnsupportedArchitecture } from "./ModelReason.ts"
import { configError, type Problem, SourceError } from "./SourceError.ts"

type Config = Readonly<Record<string, unknown>>

/** Keys of config.json that tell what a model has beside plain attention and MLPs. */
const hintKeys: ReadonlyArray<readonly [key: string, meaning: string]> = [
  ["num_experts", "a mixture of experts"],
  ["num_local_experts", "a mixture of experts"],
  ["n_routed_experts", "a mixture of experts"],
  ["n_shared_experts", "experts for every token"],
  ["kv_lora_rank", "latent attention"],
  ["state_size", "a state-space layer"],
  ["ssm_state_size", "a state-space layer"],
  ["mamba_d_state", "a state-space layer"],
  ["conv_L_cache", "a short convolution"],
  ["linear_num_key_heads", "linear attention"],
  ["embedding_multiplier", "scaled embeddings"],
  ["scale_emb", "scaled embeddings"],
  ["residual_multiplier", "scaled residuals"],
  ["scale_depth", "scaled residuals"],
  ["attention_multiplier", "scaled scores"],
  ["logits_scaling", "scaled logits"],
  ["logit_scale", "scaled logits"],
  ["final_logit_softcapping", "capped logits"],
  ["attn_logit_softcapping", "capped scores"],
  ["clip_qkv", "clamped q, k and v"],
  ["use_parallel_residual", "attention beside the MLP"],
  ["is_encoder_decoder", "an encoder and a decoder"]
]

/** Values that switch a setting off. */
const neutral: ReadonlySet<unknown> = new Set([undefined, null, false, 0, 1])

/** Keys under which a model of text and images holds the configuration of its language model. */
const textKeys = ["text_config", "llm_config", "language_config"]

const senses: ReadonlyArray<readonly [keys: ReadonlyArray<string>, words: string]> = [
  [["vision_config", "vision_tower", "mm_vision_tower", "img_processor", "visual"], "images"],
  [["audio_config", "audio_processor"], "sound"]
]

const isObject = (value: unknown): value is Config =>
  typeof value === "object" && value !== null && !Array.isArray(value)

const distance = (a: string, b: string): number => {
  let row = Array.from({ length: b.length + 1 }, (_, index) => index)
  for (const [i, char] of Array.from(a).entries()) {
    const next = [i + 1]
    for (let j = 0; j < b.length; j++) {
      const swap = (row[j] ?? 0) + (char === b[j] ? 0 : 1)
      next.push(Math.min(swap, (row[j + 1] ?? 0) + 1, (next[j] ?? 0) + 1))
    }
    row = next
  }
  return row[b.length] ?? 0
}

const plain = (name: string): string => name.slice(0, 100).toLowerCase().replaceAll(/[^a-z0-9]/g, "")

/** `Gemma3ForCausalLM` → `gemma3`. */
const ofClass = (name: string): string => plain(name.replace(/(For[A-Z]\w*|LMHeadModel|Model)$/, ""))

/** Shortest name that means something at the beginning of another. */
const leastPrefix = 3

/** How far names are from others: 0 one is the same, ½ alike, 1 all unlike. */
const apart = (names: ReadonlyArray<string>, others: ReadonlyArray<string>): number => {
  const pairs = names.filter((name) => name.length >= leastPrefix)
    .flatMap((name) => others.map((other) => [name, other] as const))
  if (pairs.some(([a, b]) => a === b)) return 0
  return pairs.some(([a, b]) => a.startsWith(b) || b.startsWith(a) || distance(a, b) <= 1) ? 0.5 : 1
}

/** How far names are from a family's. */
const unlikeness = ({ aliases, family }: Likeness, names: ReadonlyArray<string>): number =>
  apart(names, [family, ...aliases].flatMap((name) => [plain(name), plain(name.replace(/_text$/, ""))]))

/** Those of the names that are most like one; none where all are unlike. */
export const namesLike = (name: string, names: ReadonlyArray<string>): ReadonlyArray<string> => {
  const ranked = names.map((one) => ({ one, far: apart([plain(name)], [plain(one)]) }))
  const least = Math.min(...ranked.map(({ far }) => far))
  return least < 1 ? ranked.filter(({ far }) => far === least).map(({ one }) => one) : []
}

/** What names count against tensors: they decide where tensors leave it open. */
const nameWeight = 0.15

/** A family is near where it shares a quarter of the kinds of tensors, or its name is alike. */
const farShare = 0.75

const shareOf = ({ difference }: Likeness): number => Result.isSuccess(difference) ? difference.success.share : 1

/** The families nearest to the checkpoint, all equally; none where all are far. */
const nearestOf = (all: ReadonlyArray<Likeness>, names: ReadonlyArray<string>): ReadonlyArray<Likeness> => {
  const ranked = all.map((one) => ({ one, share: shareOf(one), names: unlikeness(one, names) }))
    .filter(({ names, share }) => names < 1 || share < farShare)
    .map((candidate) => ({ ...candidate, score: candidate.share + nameWeight * candidate.names }))
  const least = Math.min(...ranked.map(({ score }) => score))
  return ranked.filter(({ score }) => score - least < 1e-9).map(({ one }) => one)
}

const joined = (names: ReadonlyArray<string>): string =>
  names.length < 2 ? names.join("") : `${names.slice(0, -1).join(", ")} and ${names.at(-1)}`

/** `4 tensors a layer`, and two of them. */
const kinds = (names: ReadonlyArray<string>, what: string): ReadonlyArray<string> => {
  if (names.length === 0) return []
  const inLayers = names.every((name) => name.startsWith("model.layers.*."))
  const some = names.slice(0, 2).map((name) => name.replace("model.layers.*.", ""))
  const noun = inLayers ?
    `tensor${names.length === 1 ? "" : "s"} a layer` :
    `kind${names.length === 1 ? "" : "s"} of tensors`
  return [`${names.length} ${noun} ${what}, such as ${some.join(" and ")}`]
}

const differences = ({ leftover, misshapen, missing }: Difference, family: string): string =>
  [
    ...kinds(leftover, `that ${family} has not`),
    ...kinds(missing, `of ${family} that are not there`),
    ...kinds(misshapen, "in other shapes")
  ].join(", ")

/** Settings that tell of something the nearest family does not look at. */
const hintsIn = (config: Config, keys: ReadonlySet<string>): ReadonlyArray<string> =>
  hintKeys.filter(([key]) => !keys.has(key) && !neutral.has(config[key]))
    .map(([key, meaning]) => `${key} (${meaning})`)

const told = (problems: ReadonlyArray<Problem>): string =>
  problems.slice(0, 3).map(({ expected, found, path }) => `${path}: expected ${expected}, found ${found}`).join(", ")

/** Why no family can read the configuration, by the one that finds least to say against it; nothing where one can. */
const unreadable = (all: ReadonlyArray<Likeness>): ReadonlyArray<string> => {
  const failures = all.flatMap(({ difference }) => Result.isFailure(difference) ? [difference.failure] : [])
  const [least] = failures.toSorted((a, b) => a.length - b.length)
  return least === undefined || failures.length < all.length
    ? []
    : [`no family reads such a config.json (${told(least)})`]
}

/** What the checkpoint is nearest to and how it differs; `advise`: what to do if it is exactly that. */
const compared = (
  all: ReadonlyArray<Likeness>,
  names: ReadonlyArray<string>,
  config: Config,
  advise: (family: string) => string
): ReadonlyArray<string> => {
  const nearest = nearestOf(all, names)
  const [first] = nearest
  const hints = hintsIn(config, first?.keys ?? new Set())
  const also = hints.length === 0 ? [] : [`config.json also has ${hints.join(", ")}`]
  if (first === undefined) return [...unreadable(all), ...also]
  const family = joined(nearest.map((one) => one.family))
  if (Result.isFailure(first.difference)) {
    return [`nearest by name: ${family}, which cannot read config.json (${told(first.difference.failure)})`, ...also]
  }
  if (!first.difference.success.exact) {
    return [`nearest: ${family}; differs: ${differences(first.difference.success, family)}`, ...also]
  }
  const same = `nearest: ${family}, whose tensors these are, all of them and no others`
  return hints.length > 0
    ? [same, ...also]
    : nearest.length === 1
    ? [`${same}: ${advise(family)}`]
    : [`${same}, though these compute differently: only the model's own code tells whether it is one of them`]
}

const classesOf = (config: Config): ReadonlyArray<string> => {
  const classes = config["architectures"]
  return Array.isArray(classes) ? classes.filter((name) => typeof name === "string").slice(0, 4) : []
}

/** What a model of text and something else is, and how to compile its language model; undefined where it is of text alone. */
const multimodal = (
  checkpoint: Pick<Checkpoint, "config" | "tensors" | "unheld">,
  families: ReadonlyArray<Family>
): ReadonlyArray<string> | undefined => {
  const { config, tensors } = checkpoint
  const seen = senses.filter(([keys]) => keys.some((key) => ![undefined, null].some((none) => none === config[key])))
  const towers = Array.from(tensors.keys()).some(ofTower)
  const textKey = textKeys.find((key) => isObject(config[key]))
  if (seen.length === 0 && !towers && textKey === undefined) return undefined
  const words = joined(["text", ...seen.length > 0 ? seen.map(([, word]) => word) : ["images or sound"]])
  const inner = textKey === undefined ? undefined : config[textKey]
  const text = isObject(inner) ? inner : config
  const type = text["model_type"]
  const all = likenesses(checkpoint, families, text)
  const known = all.find(({ aliases, family }) => family === type || aliases.some((alias) => alias === type))
  const first = `models of ${words} are not compiled yet`
  if (known === undefined || textKey === undefined) {
    const names = [typeof type === "string" ? plain(type) : ""]
    return [first, ...compared(all, names, text, (family) => `its language model may be a ${family}`)]
  }
  const exact = Result.isSuccess(known.difference) && known.difference.success.exact
  // tensors of a language model alone have its names, not those of the whole
  const alone = exact && !towers && !Array.from(tensors.keys()).some((name) => /^(model\.)?language_model\./.test(name))
  const advice = alone
    ? `the files hold that alone: put the content of ${textKey} in the place of config.json in a copy of the folder`
    : `to compile it alone, save it on its own with transformers, so that its config.json is what ${textKey} is here`
  return [first, `its language model is a ${known.family}; ${advice}`]
}

const namesOf = (families: ReadonlyArray<Family>): ReadonlyArray<string> =>
  families.flatMap(({ aliases, name }) => [name, ...aliases])

/** The error for a `model_type` that no family reads: the nearest family by tensors and names, and what differs. `path` is config.json. */
export const unsupportedArchitecture = (
  path: string,
  modelType: string,
  families: ReadonlyArray<Family>,
  checkpoint: Pick<Checkpoint, "config" | "tensors" | "unheld">
): SourceError => {
  const { config } = checkpoint
  const architectures = classesOf(config)
  const findings = multimodal(checkpoint, families) ?? compared(
    likenesses(checkpoint, families, config),
    [plain(modelType), ...architectures.map(ofClass)],
    config,
    (family) => `if the model computes as ${family} does, set model_type to ${family} in a copy of the folder`
  )
  const type = modelType.slice(0, 100)
  const reason = new UnsupportedArchitecture({
    key: "model_type",
    name: type,
    architectures,
    families: namesOf(families),
    findings
  })
  return new SourceError({ path, reason })
}

/** The error for a config.json without a `model_type`, or with one that is no text. */
export const familyMissing = (path: string, modelType: unknown, families: ReadonlyArray<Family>): SourceError => {
  const expected = `the name of the model's family, one of ${namesOf(families).join(", ")}`
  const found = JSON.stringify(modelType)?.slice(0, 60) ?? "nothing"
  return configError(path, [{ path: "model_type", expected, found, unsupported: false }])
}
