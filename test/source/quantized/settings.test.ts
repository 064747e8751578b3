import * as NodeServices from "@effect/platform-node/NodeServices"
import { assert, describe, it, layer } from "@effect/vitest"
import { Effect, FileSystem, Result, Runtime } from "effect"
import { join } from "node:path"
import * as Checkpoint from "../../../src/source/Checkpoint.ts"
import { Fields } from "../../../src/source/quantized/Fields.ts"
import { settingsIn } from "../../../src/source/quantized/Settings.ts"
import { type Entry, type Folder, readFolder, writeFolder } from "./Folder.ts"

const weights = { num_bits: 4, type: "int", symmetric: true, strategy: "group", group_size: 32 }
const compressed = (changes: object = {}, top: object = {}) => ({
  quant_method: "compressed-tensors",
  format: "pack-quantized",
  ignore: ["lm_head"],
  config_groups: { group_0: { targets: ["Linear"], weights: { ...weights, ...changes } } },
  ...top
})
const gptq = { quant_method: "gptq", bits: 4, group_size: 128, desc_act: false }

const read = (settings: object) => settingsIn(new Fields("config.json", "quantization_config", settings), undefined)

describe("settingsIn", () => {
  it("reads what each tool writes", () => {
    assert.deepStrictEqual(Result.getOrThrow(read(compressed())), {
      method: "compressed-tensors",
      groups: [{
        format: "pack-quantized",
        bits: 4,
        symmetric: true,
        grouping: 32,
        ordered: false,
        targets: ["Linear"]
      }],
      ignore: ["lm_head"],
      warnings: []
    })
    const legacy = { method: "gptq", bits: 4, grouping: 128, ordered: false, symmetric: undefined } as const
    assert.deepStrictEqual(Result.getOrThrow(read(gptq)), legacy)
    const v2 = { ...gptq, checkpoint_format: "gptq_v2", bits: 8, group_size: -1, desc_act: true, sym: true }
    assert.deepStrictEqual(Result.getOrThrow(read(v2)), {
      method: "gptq_v2",
      bits: 8,
      grouping: "channel",
      ordered: true,
      symmetric: true
    })
    const awq = { quant_method: "awq", w_bit: 4, q_group_size: 64, version: "GEMM", zero_point: true }
    const gemm = { method: "awq", bits: 4, grouping: 64, ordered: false, symmetric: undefined } as const
    assert.deepStrictEqual(Result.getOrThrow(read(awq)), gemm)
  })

  it.each(
    [
      [{ strategy: null, group_size: null }, "tensor"],
      [{ strategy: null, group_size: -1 }, "channel"],
      [{ strategy: null }, 32],
      [{ strategy: "channel", group_size: null }, "channel"]
    ] as const
  )("takes the grouping of %j", (changes, grouping) => {
    const settings = Result.getOrThrow(read(compressed(changes)))
    assert.deepInclude(settings.method === "compressed-tensors" ? settings.groups[0] : {}, { grouping })
  })

  it.each(
    [["group", true], ["dynamic", true], [true, true], ["static", false], ["weight", false], [false, false]] as const
  )("takes the order of actorder %j", (actorder, ordered) => {
    const settings = Result.getOrThrow(read(compressed({ actorder })))
    assert.deepInclude(settings.method === "compressed-tensors" ? settings.groups[0] : {}, { ordered })
  })

  it.each([
    [compressed({ actorder: "sometimes" }), "actorder sometimes"],
    [compressed({}, { transform_config: { config_groups: { R1: {} } } }), "transform_config"],
    [compressed({}, { config_groups: {} }), "config_groups: expected at least one group with weights"],
    [compressed({ type: "float" }), "pack-quantized with type float"],
    [compressed({ strategy: "block" }), "pack-quantized with strategy block"],
    [
      compressed({ group_size: 0 }),
      "group_size: expected a positive number of columns, or -1 for a whole row, found 0"
    ],
    [compressed({}, { format: "mixed-precision" }), "group_0.format: format nothing is not supported"],
    [compressed({ num_bits: "4" }), "num_bits: expected a whole number, found 4"],
    [{ ...gptq, group_size: undefined }, "group_size"],
    [{ ...gptq, checkpoint_format: "marlin" }, "checkpoint_format marlin"],
    [{ ...gptq, is_marlin_format: true }, "is_marlin_format true"],
    [{ ...gptq, dynamic: { "+:.*": { bits: 8 } } }, "settings per module"],
    [{ quant_method: "awq", bits: 4, group_size: 128, backend: "llm-awq" }, "backend llm-awq"],
    [{ quant_method: "evil\u001b[31m\n" }, "method evil\\u001b[31m\\n is not supported"]
  ])("refuses %j", (settings, mention) => {
    const error = Result.getOrThrow(Result.flip(read(settings)))
    assert.include(error.message, mention)
  })
})

const group = (targets: ReadonlyArray<string>, changes: object, format = "pack-quantized") => ({
  targets,
  format,
  weights: { ...weights, ...changes }
})

const withSettings = ({ config, tensors }: Folder, settings: object): Folder => ({
  config: { ...typeof config === "object" ? config : {}, quantization_config: settings },
  tensors
})

const isRecord = (value: unknown): value is Readonly<Record<string, unknown>> =>
  typeof value === "object" && value !== null && !Array.isArray(value)

/** The folder with these settings changed: of the weights of all groups, or of AutoGPTQ's modules. */
const changed = (folder: Folder, change: object): Folder => {
  const { config } = folder
  const settings = isRecord(config) && isRecord(config["quantization_config"]) ? config["quantization_config"] : {}
  const groups = settings["config_groups"]
  if (!isRecord(groups)) return withSettings(folder, { ...settings, ...change })
  const entries = Object.entries(groups).map(([name, one]) => {
    const of = isRecord(one) && isRecord(one["weights"]) ? one : {}
    return [name, { ...of, weights: { ...isRecord(of["weights"]) ? of["weights"] : {}, ...change } }] as const
  })
  return withSettings(folder, { ...settings, config_groups: Object.fromEntries(entries) })
}

layer(NodeServices.layer)("open", (it) => {
  const q = "model.layers.0.self_attn.q_proj"

  it.effect("gives each module the group that names it, then the one whose pattern fits, then the class's", () =>
    Effect.gen(function*() {
      const { config, tensors } = readFolder("negative/valid")
      const int8: Entry = { dtype: "I8", shape: [64, 64], data: new Uint8Array(4096) }
      const scale: Entry = { dtype: "F32", shape: [64, 1], data: new Uint8Array(256) }
      const changed = new Map(Array.from(tensors).filter(([name]) => !name.startsWith(`${q}.`)))
      changed.set(`${q}.weight`, int8)
      changed.set(`${q}.weight_scale`, scale)
      const channel = { num_bits: 8, strategy: "channel", group_size: null }
      const settings = (last: ReadonlyArray<string>) =>
        compressed({}, {
          format: "mixed-precision",
          config_groups: {
            group_0: group(["Linear"], {}),
            group_1: group(["re:.*mlp.*", q], { num_bits: 5 - 1 }),
            group_2: group(last, channel, "int-quantized")
          }
        })
      const folder = { config, tensors: changed }
      const named = yield* writeFolder(withSettings(folder, settings([`re:.*\\.0\\.self_attn\\.q_proj$`])))
      // the name of group_1 wins over the pattern of group_2
      const error = yield* Effect.flip(Checkpoint.open(named))
      assert.include(error.message, `${q}.weight_packed`)
      const swapped = settings([q])
      const fit = yield* writeFolder(withSettings(folder, {
        ...swapped,
        config_groups: {
          ...swapped.config_groups,
          group_1: group(["re:.*mlp.*"], {})
        }
      }))
      const checkpoint = yield* Checkpoint.open(fit)
      assert.deepInclude(checkpoint.tensors.get(`${q}.weight`)?.coded, { format: "int8", group: 64 })
      assert.deepInclude(checkpoint.tensors.get("model.layers.0.mlp.up_proj.weight")?.coded, { format: "packed" })
    }))

  it.effect("refuses a pattern that it cannot read, and a module that is both ignored and quantised", () =>
    Effect.gen(function*() {
      const folder = readFolder("negative/valid")
      const groups = { group_0: group(["re:(?=q).*"], {}), group_1: group(["Linear"], {}) }
      const pattern = yield* writeFolder(withSettings(folder, compressed({}, { config_groups: groups })))
      assert.include((yield* Effect.flip(Checkpoint.open(pattern))).message, "pattern (?=q).* is not supported")
      for (const entry of [q, "re:.*\\.q_proj$"]) {
        const ignored = yield* writeFolder(withSettings(folder, compressed({}, { ignore: ["re:(?=q).*", entry] })))
        assert.include((yield* Effect.flip(Checkpoint.open(ignored))).message, `found ignore: ${entry}`)
      }
    }))

  it.effect("asks one group for its targets too, but not those that it cannot read", () =>
    Effect.gen(function*() {
      const folder = readFolder("negative/valid")
      const withTargets = (...targets: ReadonlyArray<string>) =>
        writeFolder(withSettings(folder, compressed({}, { config_groups: { group_0: group(targets, {}) } })))
      const none = yield* Effect.flip(Checkpoint.open(yield* withTargets("re:.*nothing")))
      assert.match(none.message, /\.0\.[a-z_.]+: a group of config.json for its quantised tensors expected, found none/)
      for (const targets of [["re:.*"], ["re:(?!lm_head).*"]]) {
        assert.strictEqual((yield* Checkpoint.open(yield* withTargets(...targets))).kind, "quantized")
      }
    }))

  it.effect.each<readonly [name: string, folder: string, change: object, piece: string, mention: string]>([
    [
      "zero points where the settings are symmetric",
      "llama-w4a16-awq-asym-g32",
      { symmetric: true },
      "weight_zero_point",
      "weights.symmetric of quantization_config is true"
    ],
    [
      "zero points where the settings do not say symmetric, which means it",
      "llama-w4a16-awq-asym-g32",
      { symmetric: null },
      "weight_zero_point",
      "weights.symmetric of quantization_config is true"
    ],
    [
      "an order of the columns where the settings know none",
      "llama-w4a16-gptq-actorder-gidx",
      { actorder: null },
      "weight_g_idx",
      "weights.actorder of quantization_config is not group"
    ],
    [
      "no order of the columns where the settings ask for one",
      "llama-w4a16-gptq-g32",
      { actorder: "group" },
      "weight_g_idx",
      "weights.actorder of quantization_config is group"
    ],
    ["zero points that are not in the middle", "llama-autogptq-v1-g32", { sym: true }, "qzeros", "as sym of"],
    [
      "zero points of version 1 where the settings say 2",
      "qwen2-autogptq-v1-descact-g32",
      { checkpoint_format: "gptq_v2" },
      "qzeros",
      "checkpoint_format gptq_v2 of quantization_config"
    ],
    [
      "an order of the columns where desc_act is false",
      "qwen2-autogptq-v1-descact-g32",
      { desc_act: false },
      "g_idx",
      "as desc_act of quantization_config is false"
    ]
  ])("refuses %s", ([, name, change, piece, mention]) =>
    Effect.gen(function*() {
      const folder = readFolder(name)
      const error = yield* Effect.flip(Checkpoint.open(yield* writeFolder(changed(folder, change))))
      assert.match(error.message, new RegExp(`: model\\.layers\\.0\\.[a-z_.]+\\.${piece}: `))
      assert.include(error.message, mention)
      assert.strictEqual(error[Runtime.errorExitCode], 3)
    }))

  it.effect("refuses zero points of int-quantized weights that the settings call symmetric, but for zeros", () =>
    Effect.gen(function*() {
      const folder = readFolder("llama-w8a8-int")
      const rows = folder.tensors.get(`${q}.weight_scale`)?.shape[0] ?? 0
      const opened = (code: number) => {
        const entry: Entry = { dtype: "I8", shape: [rows, 1], data: new Uint8Array(rows).fill(code) }
        return Effect.flatMap(
          writeFolder({ ...folder, tensors: new Map([...folder.tensors, [`${q}.weight_zero_point`, entry]]) }),
          Checkpoint.open
        )
      }
      const error = yield* Effect.flip(opened(3))
      assert.include(error.message, `${q}.weight_zero_point: no zero points, as weights.symmetric`)
      assert.isUndefined((yield* opened(0)).tensors.get(`${q}.weight`)?.coded?.pieces["zero_point"])
    }))

  it.effect("reads quantize_config.json where config.json says nothing, and counts it among the files", () =>
    Effect.gen(function*() {
      const fs = yield* FileSystem.FileSystem
      const path = yield* writeFolder({ ...readFolder("negative/valid-gptq"), config: {} })
      yield* fs.writeFileString(join(path, "quantize_config.json"), JSON.stringify({ bits: 4, group_size: 32 }))
      const { files, kind, tensors } = yield* Checkpoint.open(path)
      assert.strictEqual(kind, "quantized")
      assert.include(files.map((file) => file.path), join(path, "quantize_config.json"))
      assert.deepInclude(tensors.get(`${q}.weight`)?.coded, { format: "gptq", group: 32, ordered: false })
      yield* fs.writeFileString(join(path, "quantize_config.json"), "[]")
      assert.include((yield* Effect.flip(Checkpoint.open(path))).message, "expected a JSON object")
    }))

  it.effect("says what of activations and caches becomes", () =>
    Effect.gen(function*() {
      const fixtures = join(import.meta.dirname, "../../fixtures/compressed")
      const warnings = (name: string) => Effect.map(Checkpoint.open(join(fixtures, name)), (open) => open.warnings)
      assert.deepStrictEqual(yield* warnings("llama-w4a16-gptq-g32"), [])
      assert.match((yield* warnings("llama-w8a8-int")).join(), /^config.json asks for quantised activations: only/)
      assert.match((yield* warnings("qwen3-fp8-static")).join(), /^config.json asks for quantised activations: only/)
      const kept = yield* Checkpoint.open(join(fixtures, "qwen3-fp8-static"))
      assert.deepStrictEqual(Array.from(kept.tensors.keys()).filter((name) => name.endsWith("input_scale")), [])
      const cached = withSettings(readFolder("negative/valid"), compressed({}, { kv_cache_scheme: { num_bits: 8 } }))
      const open = yield* Checkpoint.open(yield* writeFolder(cached))
      assert.match(open.warnings.join(), /cache stays in floating point/)
    }))

  it.effect("refuses folders whose settings and tensors contradict each other", () =>
    Effect.gen(function*() {
      const folder = readFolder("negative/valid-gptq")
      const without = {
        ...folder,
        tensors: new Map(Array.from(folder.tensors).filter(([name]) => /norm|embed/.test(name)))
      }
      const none = yield* Effect.flip(Checkpoint.open(yield* writeFolder(without)))
      assert.include(none.message, "modules that gptq quantised expected, found none")
      const dense: Entry = { dtype: "F16", shape: [1], data: new Uint8Array(2) }
      const both = { ...folder, tensors: new Map([...folder.tensors, [`${q}.weight`, dense]]) }
      const error = yield* Effect.flip(Checkpoint.open(yield* writeFolder(both)))
      assert.include(error.message, `${q}: either weight or qweight expected, found both`)
      const index = folder.tensors.get(`${q}.g_idx`)
      if (index === undefined) return yield* Effect.die("no g_idx")
      const packed = readFolder("negative/valid")
      const sides: Entry = { dtype: "I64", shape: [2], data: new Uint8Array(BigInt64Array.of(63n, 64n).buffer) }
      const shorter = { ...packed, tensors: new Map([...packed.tensors, [`${q}.weight_shape`, sides]]) }
      const shape = yield* Effect.flip(Checkpoint.open(yield* writeFolder(shorter)))
      assert.include(shape.message, "[64, 64], which weight_packed holds, expected, found [63, 64]")
      const uneven = { ...index, data: new Uint8Array(index.data.length) }
      const moved = { ...folder, tensors: new Map([...folder.tensors, [`${q}.g_idx`, uneven]]) }
      const wrong = yield* Effect.flip(Checkpoint.open(yield* writeFolder(moved)))
      assert.include(wrong.message, `${q}.g_idx: 32 columns in group 0 expected, found 64`)
    }))
})
