import { Result } from "effect"
import { UnsupportedQuantization } from "../ModelReason.ts"
import { SourceError } from "../SourceError.ts"
import { type CompressedGroup, compressedSettings } from "./CompressedSettings.ts"
import { Fields } from "./Fields.ts"

/** What a configuration says about weights that were quantised before. */
export type Settings =
  | {
    readonly method: "compressed-tensors"
    readonly groups: ReadonlyArray<CompressedGroup>
    /** module names, or `re:` and a pattern */
    readonly ignore: ReadonlyArray<string>
    readonly warnings: ReadonlyArray<string>
  }
  | LegacySettings

/** How AutoGPTQ or AutoAWQ stored all modules. */
export interface LegacySettings {
  readonly method: "gptq" | "gptq_v2" | "awq"
  readonly bits: 4 | 8
  /** columns that share a scale; "channel": all */
  readonly grouping: number | "channel"
  /** columns lie in another order than that of their groups; undefined: the settings do not say */
  readonly ordered: boolean | undefined
  /** zero points are in the middle; undefined: the settings do not say */
  readonly symmetric: boolean | undefined
}

/** What `quant_method` may name. */
const methods: ReadonlyArray<string> = ["compressed-tensors", "gptq", "awq"]

/** What there is to say about a method that is not read. */
const remarks: Readonly<Record<string, string>> = {
  bitsandbytes: "its numbers depend on its own kernels"
}

/** Files beside config.json by which older tools say how the weights are quantised. */
export const settingsFiles: Readonly<Record<string, string>> = {
  "quantize_config.json": "gptq",
  "quant_config.json": "awq"
}

/** `quantization_config` of a config.json, wherever it is; undefined where there is none. */
export const quantizationOf = (path: string, config: object): Result.Result<Fields | undefined, SourceError> =>
  Result.gen(function*() {
    const top = new Fields(path, "config", config)
    const inner = top.has("text_config") ? yield* top.fields("text_config") : undefined
    for (const place of inner === undefined ? [top] : [top, inner]) {
      for (const key of ["quantization_config", "compression_config"]) {
        const found = yield* place.fields(key)
        if (found !== undefined) return new Fields(path, key, Object.fromEntries(found.values))
      }
    }
    return undefined
  })

const gptq = (fields: Fields): Result.Result<LegacySettings, SourceError> =>
  Result.gen(function*() {
    const bits = yield* fields.bits("bits", "quant_method gptq with bits", [4, 8])
    const grouping = yield* fields.groupSize("group_size")
    if (grouping === undefined) return yield* fields.wrong("group_size", "the number of columns of a group, or -1")
    const ordered = yield* fields.flag("desc_act")
    const symmetric = yield* fields.flag("sym")
    const format = yield* fields.choice("checkpoint_format", "quant_method gptq with checkpoint_format", [
      "gptq",
      "gptq_v2"
    ])
    if ((yield* fields.flag("is_marlin_format")) === true) {
      return yield* fields.unsupported("is_marlin_format", "quant_method gptq with is_marlin_format", ["false"])
    }
    yield* fields.choice("pack_dtype", "quant_method gptq with pack_dtype", ["int32"])
    const dynamic = yield* fields.fields("dynamic")
    if (dynamic !== undefined && dynamic.values.size > 0) {
      return yield* fields.unsupported("dynamic", "quant_method gptq with settings per module (dynamic)", ["{}"])
    }
    return { method: format ?? "gptq", bits, grouping, ordered, symmetric }
  })

const awq = (fields: Fields): Result.Result<LegacySettings, SourceError> =>
  Result.gen(function*() {
    yield* fields.choice("version", "quant_method awq with version", ["gemm"])
    yield* fields.choice("backend", "quant_method awq with backend", ["autoawq"])
    // quant_config.json of older folders has other names for the same
    const bits = yield* fields.bits(fields.has("w_bit") ? "w_bit" : "bits", "quant_method awq with bits", [4])
    const key = fields.has("q_group_size") ? "q_group_size" : "group_size"
    const grouping = yield* fields.groupSize(key)
    if (grouping === undefined) return yield* fields.wrong(key, "the number of columns of a group, or -1")
    return { method: "awq", bits, grouping, ordered: false, symmetric: undefined }
  })

/** Reads `quantization_config`, or a settings file that means `implied`; what is not read is refused here, before any weight. */
export const settingsIn = (fields: Fields, implied: string | undefined): Result.Result<Settings, SourceError> =>
  Result.gen(function*() {
    const named = yield* fields.text("quant_method")
    const isBitsAndBytes = fields.has("load_in_4bit") || fields.has("load_in_8bit")
    const method = named ?? implied ?? (isBitsAndBytes ? "bitsandbytes" : undefined)
    if (method === "compressed-tensors") return yield* compressedSettings(fields)
    if (method === "gptq") return yield* gptq(fields)
    if (method === "awq") return yield* awq(fields)
    const reason = new UnsupportedQuantization({
      where: `${fields.where}.quant_method`,
      setting: "method",
      found: method === undefined ? "(quant_method is missing)" : JSON.stringify(method.slice(0, 100)).slice(1, -1),
      supported: methods,
      advice: method !== undefined && Object.hasOwn(remarks, method) ? remarks[method] ?? "" : ""
    })
    return yield* Result.fail(new SourceError({ path: fields.path, reason }))
  })
