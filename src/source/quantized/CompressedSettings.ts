import { Result } from "effect"
import type { SourceError } from "../SourceError.ts"
import type { Fields } from "./Fields.ts"

/** Storage formats of compressed-tensors that are read. Source: compressed-tensors 0.19, `CompressionFormat`. */
export const compressedFormats = [
  "pack-quantized",
  "int-quantized",
  "float-quantized",
  "nvfp4-pack-quantized"
] as const
export type CompressedFormat = (typeof compressedFormats)[number]

/** Numbers along a row that share a scale; "channel": a whole row, "tensor": the whole matrix. */
export type Grouping = number | "channel" | "tensor"

/** How compressed-tensors stored the modules that `targets` name. */
export interface CompressedGroup {
  readonly format: CompressedFormat
  readonly bits: 4 | 8
  readonly symmetric: boolean
  readonly grouping: Grouping
  /** columns lie in another order than that of their groups, which a tensor tells */
  readonly ordered: boolean
  /** module names, `re:` and a pattern, or names of classes */
  readonly targets: ReadonlyArray<string>
}

interface Weights {
  readonly bits: ReadonlyArray<4 | 8>
  readonly type: "int" | "float"
  readonly strategies: ReadonlyArray<"tensor" | "channel" | "group" | "tensor_group">
}

const weights: Readonly<Record<CompressedFormat, Weights>> = {
  "pack-quantized": { bits: [4, 8], type: "int", strategies: ["tensor", "channel", "group"] },
  "int-quantized": { bits: [4, 8], type: "int", strategies: ["tensor", "channel", "group"] },
  "float-quantized": { bits: [8], type: "float", strategies: ["tensor", "channel", "group"] },
  "nvfp4-pack-quantized": { bits: [4], type: "float", strategies: ["tensor_group"] }
}

/** Numbers that share a scale in nvfp4. */
export const nvfp4Group = 16

const groupingIn = (fields: Fields, format: CompressedFormat): Result.Result<Grouping, SourceError> =>
  Result.gen(function*() {
    const { strategies } = weights[format]
    const size = yield* fields.groupSize("group_size")
    const named = yield* fields.choice("strategy", `${format} with strategy`, strategies)
    // as compressed-tensors infers it where the strategy is left out
    const strategy = named ?? (size === undefined ? "tensor" : size === "channel" ? "channel" : "group")
    if (strategy === "tensor_group" || format === "nvfp4-pack-quantized") {
      return size === nvfp4Group
        ? nvfp4Group
        : yield* fields.unsupported("group_size", `${format} with group_size`, [String(nvfp4Group)])
    }
    if (strategy !== "group") return strategy
    return typeof size === "number" ? size : yield* fields.wrong("group_size", "the number of columns of a group")
  })

/** Whether columns are sorted by activations and keep their groups: what `actorder` may be. Source: `ActivationOrdering`. */
const orderedIn = (fields: Fields): Result.Result<boolean, SourceError> =>
  typeof fields.values.get("actorder") === "boolean"
    ? Result.map(fields.flag("actorder"), (flag) => flag === true)
    : Result.map(
      fields.choice("actorder", "actorder", ["group", "dynamic", "weight", "static"]),
      (order) => order === "group" || order === "dynamic"
    )

const groupIn = (
  group: Fields,
  fields: Fields,
  common: CompressedFormat | undefined
): Result.Result<CompressedGroup, SourceError> =>
  Result.gen(function*() {
    const format = (yield* group.choice("format", "format", compressedFormats)) ?? common
    if (format === undefined) return yield* group.unsupported("format", "format", compressedFormats)
    const { bits: widths, type } = weights[format]
    const found = yield* fields.choice("type", `${format} with type`, [type])
    if (found === undefined && type === "float") return yield* fields.wrong("type", type)
    const bits = yield* fields.bits("num_bits", `${format} with num_bits`, widths)
    const symmetric = (yield* fields.flag("symmetric")) ?? true
    if (!symmetric && type === "float") {
      return yield* fields.unsupported("symmetric", `${format} with symmetric`, ["true"])
    }
    return {
      format,
      bits,
      symmetric,
      grouping: yield* groupingIn(fields, format),
      ordered: yield* orderedIn(fields),
      targets: yield* group.texts("targets")
    }
  })

/** Refuses what changes the meaning of the weights: sparsity, and rotations that the model's inputs would need. */
const refuseOthers = (fields: Fields): Result.Result<void, SourceError> =>
  Result.gen(function*() {
    const sparsity = yield* fields.fields("sparsity_config")
    yield* sparsity?.choice("format", "sparsity format", ["dense"]) ?? Result.succeed(undefined)
    const transforms = yield* fields.fields("transform_config")
    const groups = yield* transforms?.fields("config_groups") ?? Result.succeed(undefined)
    if (groups !== undefined && groups.values.size > 0) {
      return yield* fields.unsupported("transform_config", "transform_config", ["{}"])
    }
  })

/** Reads the `quantization_config` of compressed-tensors. Source: compressed-tensors 0.19, `QuantizationConfig`. */
export const compressedSettings = (fields: Fields) =>
  Result.gen(function*() {
    yield* refuseOthers(fields)
    const stated = yield* fields.text("format")
    // "mixed-precision": each group says its own
    const common = stated === "mixed-precision"
      ? undefined
      : yield* fields.choice("format", "format", compressedFormats)
    const ignore = yield* fields.texts("ignore")
    const entries = yield* fields.fields("config_groups")
    const groups: Array<CompressedGroup> = []
    let activations = false
    for (const name of entries?.values.keys() ?? []) {
      const group = yield* entries?.fields(name) ?? Result.succeed(undefined)
      activations ||= group?.has("input_activations") === true || group?.has("output_activations") === true
      const weights = yield* group?.fields("weights") ?? Result.succeed(undefined)
      if (group !== undefined && weights !== undefined) groups.push(yield* groupIn(group, weights, common))
    }
    if (groups.length === 0) return yield* fields.wrong("config_groups", "at least one group with weights")
    const warnings = [
      ...activations
        ? ["config.json asks for quantised activations: only the weights are taken, activations stay in floating point"]
        : [],
      ...fields.has("kv_cache_scheme")
        ? ["config.json asks for a quantised cache (kv_cache_scheme): the cache stays in floating point"]
        : []
    ]
    return { method: "compressed-tensors" as const, groups, ignore, warnings }
  })
