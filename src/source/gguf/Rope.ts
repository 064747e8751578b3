import { Result } from "effect"
import { type Metadata, type Read, unsupported, wrong } from "./Metadata.ts"
import type { Layout } from "./Names.ts"

/** Tables of the rotary embedding that the file holds as tensors, by name: `rope_freqs.weight`. */
export type Tables = ReadonlyMap<string, ReadonlyArray<number>>

/** What a rotary embedding is asked for: an architecture, its heads and how many numbers of each turn. */
export interface Heads {
  readonly architecture: string
  readonly layout: Layout
  readonly headSize: number
  readonly rotary: number
}

/** Keys of a config in Hugging Face's spelling. */
export type Settings = Readonly<Record<string, unknown>>

/** Families whose q and k take `rope_freqs` in ggml. */
const withFactors: ReadonlySet<string> = new Set(["llama", "qwen2", "qwen3"])

const table = (tables: Tables, name: string, rotary: number): Read<ReadonlyArray<number> | undefined> => {
  const values = tables.get(name)
  if (values === undefined || values.length === rotary / 2) return Result.succeed(values)
  return wrong(name, `shape [${rotary / 2}], a factor for each pair of a head`, `shape [${values.length}]`)
}

const longrope = (meta: Metadata, tables: Tables, { architecture, rotary }: Heads): Read<Settings | undefined> =>
  Result.gen(function*() {
    const long = yield* table(tables, "rope_factors_long.weight", rotary)
    const short = yield* table(tables, "rope_factors_short.weight", rotary)
    if (long === undefined && short === undefined) return undefined
    if (long === undefined || short === undefined) {
      const name = long === undefined ? "rope_factors_long.weight" : "rope_factors_short.weight"
      return yield* wrong(name, "both tables of factors, long and short", "no such tensor")
    }
    const key = `${architecture}.rope.scaling.attn_factor`
    return {
      rope_type: "longrope",
      long_factor: long,
      short_factor: short,
      attention_factor: (yield* meta.positive(key)) ?? 1
    }
  })

const factors = (meta: Metadata, tables: Tables, { architecture, layout, rotary }: Heads): Read<Settings | undefined> =>
  Result.gen(function*() {
    const values = yield* table(tables, "rope_freqs.weight", rotary)
    if (values === undefined) return undefined
    if (!withFactors.has(layout.modelType)) {
      return yield* unsupported("rope_freqs.weight", `factors in ${[...withFactors].join(", ")} only`, architecture)
    }
    const attention = yield* meta.positive(`${architecture}.rope.scaling.attn_factor`)
    return { rope_type: "divided", factors: values, attention_factor: attention ?? 1 }
  })

// yarn's own factor on cos and sin, which ggml multiplies with `attn_factor`. Source: ggml 0.25, `rope_yarn`.
const yarnAttention = (factor: number): number => factor <= 1 ? 1 : 0.1 * Math.log(factor) + 1

const scaling = (meta: Metadata, architecture: string): Read<Settings | undefined> =>
  Result.gen(function*() {
    const key = (name: string) => `${architecture}.rope.scaling.${name}`
    const factor = (yield* meta.positive(key("factor"))) ?? (yield* meta.positive(`${architecture}.rope.scale_linear`))
    // a file that names no type means linear. Source: llama.cpp, `load_hparams`.
    const type = (yield* meta.text(key("type"))) ?? "linear"
    if (type === "none" || type === "longrope") return undefined
    if (type === "linear") return factor === undefined || factor === 1 ? undefined : { rope_type: "linear", factor }
    if (type !== "yarn") return yield* unsupported(key("type"), "none, linear, yarn or longrope", JSON.stringify(type))
    const needed = yield* meta.required(key("factor"), "a number above 0", Result.succeed(factor))
    const original = yield* meta.integer(key("original_context_length"))
    const fast = yield* meta.positive(key("yarn_beta_fast"))
    const slow = yield* meta.positive(key("yarn_beta_slow"))
    const attention = (yield* meta.positive(key("attn_factor"))) ?? 1
    return {
      rope_type: "yarn",
      factor: needed,
      attention_factor: attention * yarnAttention(needed),
      ...(original === undefined ? {} : { original_max_position_embeddings: original }),
      ...(fast === undefined ? {} : { beta_fast: fast }),
      ...(slow === undefined ? {} : { beta_slow: slow })
    }
  })

/** `rope_theta`, `rope_scaling` and what goes with them, of the metadata and the file's tables of factors. */
export const ropeSettings = (meta: Metadata, tables: Tables, heads: Heads): Read<Settings> =>
  Result.gen(function*() {
    const { architecture, headSize, layout, rotary } = heads
    const theta = (yield* meta.positive(`${architecture}.rope.freq_base`)) ?? 10_000
    const found = [
      yield* longrope(meta, tables, heads),
      yield* factors(meta, tables, heads),
      yield* scaling(meta, architecture)
    ]
      .filter((one) => one !== undefined)
    const [first, second] = found
    if (second !== undefined) {
      return yield* unsupported(
        `${architecture}.rope.scaling.type`,
        "one scaling of the rotary embedding",
        found.map((one) => one["rope_type"]).join(" and ")
      )
    }
    const original = yield* meta.integer(`${architecture}.rope.scaling.original_context_length`)
    const local = layout.modelType === "gemma3_text"
      ? { rope_local_base_freq: (yield* meta.positive(`${architecture}.rope.freq_base_swa`)) ?? 10_000 }
      : {}
    // families take the whole part of head size × factor; the half keeps that from falling below
    const phi3 = layout.modelType === "phi3"
      ? {
        partial_rotary_factor: rotary === headSize ? 1 : (rotary + 0.5) / headSize,
        ...(original === undefined ? {} : { original_max_position_embeddings: original })
      }
      : {}
    return { rope_theta: theta, ...(first === undefined ? {} : { rope_scaling: first }), ...local, ...phi3 }
  })
