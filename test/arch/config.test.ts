import { assert, describe, it } from "@effect/vitest"
import { Result } from "effect"
import { join } from "node:path"
import type { ConfigProblem, Model } from "../../src/arch/Architecture.ts"
import { find } from "../../src/arch/registry.ts"
import { finder, json, readCase } from "./Case.ts"

const negative = (name: string) => join(import.meta.dirname, "../fixtures/negative", name)
const control = json(join(negative("control"), "config.json"))

const read = (family: string, config: unknown): Result.Result<Model, ReadonlyArray<ConfigProblem>> => {
  const architecture = find(family)
  assert.isDefined(architecture)
  return architecture.read(config)
}

/** The sound config with some keys changed; undefined takes a key away. */
const changed = (changes: Record<string, unknown>) =>
  Object.fromEntries(Object.entries({ ...control, ...changes }).filter(([, value]) => value !== undefined))

const problems = (changes: Record<string, unknown>, family = "llama"): ReadonlyArray<ConfigProblem> => {
  const result = read(family, changed(changes))
  return Result.isFailure(result) ? result.failure : []
}

const model = (family: string, config: unknown): Model => Result.getOrThrow(read(family, config))

const ropes = (changes: Record<string, unknown>) => model("llama", changed(changes)).facts.ropes

const yarnFactor = (changes: Record<string, unknown>) =>
  ropes({ rope_scaling: { type: "yarn", factor: 40, ...changes } })[0]?.attentionFactor

const divided = (frequencies: ReadonlyArray<number> | undefined, by: ReadonlyArray<number>): ReadonlyArray<number> =>
  (frequencies ?? []).map((frequency, at) => frequency / (by[at] ?? 0))

const attention = ({ facts }: Model) => facts.layers.flatMap((layer) => layer.kind === "attention" ? [layer] : [])

const windows = (family: string, changes: Record<string, unknown>) =>
  attention(model(family, changed(changes))).map(({ window }) => window)

describe.each(["config-heads-not-divisible", "config-negative-layers", "config-unknown-rope"])("%s", (name) => {
  it("is refused with the facts that a good error has", () => {
    const result = read("llama", json(join(negative(name), "config.json")))
    assert.isTrue(Result.isFailure(result))
    if (Result.isFailure(result)) {
      const text = result.failure.map(({ expected, found, path }) => `${path}: ${expected}, not ${found}`).join("\n")
      const { mentions }: { mentions: ReadonlyArray<ReadonlyArray<string>> } = json(
        join(negative(name), "expected.json")
      )
      for (const group of mentions) {
        assert.isTrue(
          group.some((word) => text.toLowerCase().includes(word.toLowerCase())),
          `${text} names ${group.join(" or ")}`
        )
      }
      assert.deepStrictEqual(result.failure.map(({ unsupported }) => unsupported), [name === "config-unknown-rope"])
    }
  })
})

describe("read", () => {
  it("takes the sound config", () => assert.deepStrictEqual(problems({}), []))

  it("reports every wrong key at once, each with what was found", () => {
    assert.deepStrictEqual(
      problems({ hidden_size: "16", num_hidden_layers: 1e9, vocab_size: undefined, rms_norm_eps: 0 }),
      [
        { path: "hidden_size", expected: "number", found: "\"16\"", unsupported: false },
        {
          path: "num_hidden_layers",
          expected: "a whole number from 1 to 10000",
          found: "1000000000",
          unsupported: false
        },
        { path: "vocab_size", expected: "a value", found: "nothing", unsupported: false },
        { path: "rms_norm_eps", expected: "a number above 0", found: "0", unsupported: false }
      ]
    )
  })

  it.each([
    [{ head_dim: undefined, num_attention_heads: 3, num_key_value_heads: 1 }, "hidden_size", false],
    [{ head_dim: 7 }, "head_dim", false],
    [{ num_attention_heads: 2 ** 24 }, "num_attention_heads", false],
    [{ hidden_size: 2 ** 24 + 1 }, "hidden_size", false],
    [{ hidden_act: "relu2" }, "hidden_act", true],
    [{ partial_rotary_factor: 0.5 }, "partial_rotary_factor", true],
    [{ rope_theta: 0.5 }, "rope_theta", false],
    [{ rope_theta: 1e300 }, "rope_theta", false],
    [{ rope_scaling: "linear" }, "rope_scaling", false],
    [{ rope_scaling: { rope_type: "toString" } }, "rope_scaling.rope_type", true],
    [{ rope_scaling: { type: "dynamic", factor: 2 } }, "rope_scaling.type", true],
    [{ rope_scaling: { type: "linear" } }, "rope_scaling.factor", false],
    [{ rope_scaling: { type: "linear", factor: "2" } }, "rope_scaling.factor", false],
    [{ rope_scaling: { rope_type: "llama3", factor: 2 } }, "rope_scaling.low_freq_factor", false],
    [
      { rope_scaling: { rope_type: "longrope", factor: 2, short_factor: [1], long_factor: [1] } },
      "rope_scaling.short_factor",
      false
    ],
    [{ rope_parameters: { full_attention: { rope_theta: 1e6 } } }, "rope_parameters", true]
  ])("refuses %j, naming %s", (changes, path, unsupported) => {
    assert.deepStrictEqual(problems(changes).map((problem) => [problem.path, problem.unsupported]), [[
      path,
      unsupported
    ]])
  })

  it("stops listing after 20 problems", () => {
    const changes = { num_hidden_layers: 9999, layer_types: Array.from({ length: 9999 }, () => "conv") }
    assert.strictEqual(problems(changes, "qwen3").length, 20)
  })
})

describe("rotary embeddings", () => {
  it("are the same in the keys of transformers 4 and 5", () => {
    const scaling = { factor: 4, original_max_position_embeddings: 32 }
    const old = { rope_theta: 5e5, rope_scaling: { type: "yarn", ...scaling } }
    const now = {
      rope_theta: undefined,
      rope_scaling: undefined,
      rope_parameters: { rope_type: "yarn", rope_theta: 5e5, ...scaling }
    }
    assert.deepStrictEqual(ropes(now), ropes(old))
  })

  it("take the outer theta where the settings have none", () => {
    assert.deepStrictEqual(
      ropes({ rope_theta: 5e5, rope_parameters: { rope_type: "default", rope_theta: 1e4 } }),
      ropes({})
    )
    assert.notDeepEqual(ropes({ rope_theta: 5e5 }), ropes({}))
    assert.deepStrictEqual(ropes({ rope_theta: undefined }), ropes({ rope_theta: 10_000 }))
  })

  it("linear divides positions by the factor", () => {
    const [plain] = ropes({})
    const [linear] = ropes({ rope_scaling: { type: "linear", factor: 8 } })
    assert.deepStrictEqual(linear?.inverseFrequencies, divided(plain?.inverseFrequencies, [8, 8, 8, 8]))
  })

  it("yarn takes its attention factor from mscale, mscale_all_dim or the file", () => {
    assert.strictEqual(yarnFactor({}), 0.1 * Math.log(40) + 1)
    assert.strictEqual(yarnFactor({ mscale: 1, mscale_all_dim: 1 }), 1)
    assert.strictEqual(yarnFactor({ mscale: 1, mscale_all_dim: 0 }), 0.1 * Math.log(40) + 1)
    assert.strictEqual(yarnFactor({ attention_factor: 1.25, mscale: 2 }), 1.25)
    assert.strictEqual(yarnFactor({ factor: 0.5 }), 1)
  })

  it("longrope has frequencies for long runs beside", () => {
    const factors = { short_factor: [1, 1, 1, 2], long_factor: [2, 2, 2, 4] }
    const [rope] = ropes({ original_max_position_embeddings: 32, rope_scaling: { type: "longrope", ...factors } })
    const [plain] = ropes({})
    assert.deepStrictEqual(rope?.inverseFrequencies, divided(plain?.inverseFrequencies, factors.short_factor))
    assert.deepStrictEqual(rope?.long, {
      above: 32,
      inverseFrequencies: divided(plain?.inverseFrequencies, factors.long_factor),
      keeps: true
    })
    assert.strictEqual(rope?.attentionFactor, Math.sqrt(1 + Math.log(4) / Math.log(32)))
  })

  // The numbers below were printed by transformers 5.24 and torch 2.15: `ROPE_INIT_FUNCTIONS` for this head size, theta and 128 positions.
  it.each([
    [8, 1.2649110640673518],
    [1, 1],
    [undefined, 1.1832159566199232]
  ])("longrope with a factor of %s, which goes before the ratio of positions, multiplies by %d", (factor, expected) => {
    const lists = { short_factor: [1, 1, 1, 2], long_factor: [2, 2, 2, 4] }
    const changes = {
      original_max_position_embeddings: 32,
      rope_scaling: { type: "longrope", ...lists, ...factor === undefined ? {} : { factor } }
    }
    for (const family of ["llama", "phi3"]) {
      assert.closeTo(model(family, changed(changes)).facts.ropes[0]?.attentionFactor ?? NaN, expected, 1e-15)
    }
    const { original_max_position_embeddings: _, ...alone } = changes
    assert.strictEqual(ropes(alone)[0]?.long?.above, 128)
  })

  const yarn = { type: "yarn", factor: 4, original_max_position_embeddings: 64 }
  const three = { rope_type: "llama3", factor: 8, low_freq_factor: 1, high_freq_factor: 4 }
  it.each([
    [{ rope_scaling: yarn }, [1, 0.0625, 0.0024999999441206455, 0.0002500000118743628]],
    [
      { rope_scaling: yarn, original_max_position_embeddings: 16 },
      [1, 0.02500000037252903, 0.0024999999441206455, 0.0002500000118743628]
    ],
    [
      { rope_scaling: { ...yarn, truncate: null } },
      [1, 0.025595249608159065, 0.0024999999441206455, 0.0002500000118743628]
    ],
    [
      { rope_scaling: { ...three, original_max_position_embeddings: 32 }, original_max_position_embeddings: 64 },
      [1, 0.013042256236076355, 0.0012499999720603228, 0.0001250000059371814]
    ],
    [
      { rope_scaling: three, original_max_position_embeddings: 64 },
      [1, 0.013042256236076355, 0.0012499999720603228, 0.0001250000059371814]
    ],
    [{ rope_scaling: three }, [1, 0.04275117814540863, 0.0012499999720603228, 0.0001250000059371814]]
  ])("of %j are transformers'; original positions beside the settings go before theirs", (changes, expected) => {
    const found = ropes(changes)[0]?.inverseFrequencies ?? []
    assert.strictEqual(found.length, expected.length)
    found.forEach((value, at) => assert.closeTo(value, expected[at] ?? NaN, 1e-8))
  })

  it("take rope_parameters where rope_scaling is an object without keys", () => {
    const linear = { rope_type: "linear", rope_theta: 1e4, factor: 4 }
    assert.deepStrictEqual(
      ropes({ rope_scaling: {}, rope_parameters: linear }),
      ropes({ rope_scaling: undefined, rope_parameters: linear })
    )
  })
})

describe("windows", () => {
  it("mistral: a number, none for null, the family's where the key is absent", () => {
    assert.deepStrictEqual(windows("mistral", { sliding_window: 16 }), [16, 16])
    assert.deepStrictEqual(windows("mistral", { sliding_window: null }), [undefined, undefined])
    assert.deepStrictEqual(windows("mistral", {}), [4096, 4096])
    const types = { sliding_window: 16, layer_types: ["full_attention", "sliding_attention"] }
    assert.deepStrictEqual(windows("mistral", types), [undefined, 16])
  })

  it.each(["qwen2", "qwen3"])("%s: only when it is in use, from max_window_layers or by layer_types", (family) => {
    assert.deepStrictEqual(windows(family, { sliding_window: 8 }), [undefined, undefined])
    const on = { use_sliding_window: true, sliding_window: 8 }
    assert.deepStrictEqual(windows(family, { ...on, max_window_layers: 1 }), [undefined, 8])
    assert.deepStrictEqual(windows(family, { ...on, layer_types: ["sliding_attention", "full_attention"] }), [
      8,
      undefined
    ])
    assert.deepStrictEqual(
      problems({ layer_types: ["sliding_attention", "full_attention"] }, family).map(({ path }) => path),
      ["layer_types"]
    )
    assert.deepStrictEqual(problems({ layer_types: ["full_attention"] }, family).map(({ path }) => path), [
      "layer_types"
    ])
  })
})

describe("windows by type of layer", () => {
  it("gemma2: every other layer, from the first", () => {
    assert.deepStrictEqual(windows("gemma2", { num_hidden_layers: 3, sliding_window: 8 }), [8, undefined, 8])
    assert.deepStrictEqual(windows("gemma2", {}), [4096, undefined])
  })

  it("gemma3_text: all but each sixth or the pattern's, with ropes of their own", () => {
    const seven = model("gemma3_text", changed({ num_hidden_layers: 7, rope_theta: undefined }))
    const layers = attention(seven)
    assert.deepStrictEqual(layers.map(({ window }) => window), [4096, 4096, 4096, 4096, 4096, undefined, 4096])
    assert.deepStrictEqual(layers.map(({ rope }) => rope === "sliding"), layers.map(({ window }) => window === 4096))
    const [million, tenThousand] = ["1e6", "1e4"].map((theta) =>
      model("llama", changed({ head_dim: 256, rope_theta: Number(theta) })).facts.ropes[0]?.inverseFrequencies
    )
    const given = model("gemma3_text", changed({ head_dim: 256, rope_theta: undefined, num_hidden_layers: 6 })).facts
    assert.deepStrictEqual(given.ropes.map(({ inverseFrequencies, name }) => [name, inverseFrequencies]), [
      ["full", million],
      ["sliding", tenThousand]
    ])
    assert.strictEqual(seven.facts.ropes.length, 2)
    assert.deepStrictEqual(windows("gemma3_text", { sliding_window_pattern: 2 }), [4096, undefined])
    // transformers writes this key, always with `layer_types`, and does not read it
    assert.deepStrictEqual(windows("gemma3_text", { _sliding_window_pattern: 2 }), [4096, 4096])
  })

  it("leave out the rope that no layer uses", () => {
    const only = (type: string) =>
      model("gemma3_text", changed({ layer_types: [type, type] })).facts.ropes.map(({ name }) => name)
    assert.deepStrictEqual(only("full_attention"), ["full"])
    assert.deepStrictEqual(only("sliding_attention"), ["sliding"])
    assert.deepStrictEqual(model("smollm3", changed({ no_rope_layers: [0, 0] })).facts.ropes, [])
  })

  it("smollm3: layers without a rope, where a window is in use", () => {
    const four = { num_hidden_layers: 4 }
    const layers = attention(model("smollm3", changed(four)))
    assert.deepStrictEqual(layers.map(({ rope }) => rope), ["full", "full", "full", undefined])
    const none = undefined
    assert.deepStrictEqual(windows("smollm3", { ...four, sliding_window: 8 }), [none, none, none, none])
    const on = { ...four, sliding_window: 8, use_sliding_window: true }
    assert.deepStrictEqual(windows("smollm3", on), [none, none, none, 8])
    assert.deepStrictEqual(windows("smollm3", { ...on, no_rope_layers: [0, 1, 1, 1] }), [8, none, none, none])
  })
})

describe("a key that a family does not take", () => {
  it.each([
    ["gemma2", { hidden_activation: "relu2" }, "hidden_activation", true],
    ["gemma2", { sliding_window: null }, "layer_types", false],
    ["gemma", { use_bidirectional_attention: true }, "use_bidirectional_attention", true],
    ["gemma2", { use_bidirectional_attention: true }, "use_bidirectional_attention", true],
    ["gemma3_text", { use_bidirectional_attention: true }, "use_bidirectional_attention", true],
    ["llama", { is_causal: false }, "is_causal", true],
    ["mistral", { layer_types: ["full_attention"] }, "layer_types", false],
    ["gemma3_text", { rope_parameters: { rope_theta: 1 } }, "rope_parameters.full_attention", false],
    ["smollm3", { no_rope_layers: [1] }, "no_rope_layers", false],
    ["smollm3", { no_rope_layers: [1, 2] }, "no_rope_layers.1", false],
    ["lfm2", { layer_types: ["conv"] }, "layer_types", false],
    ["lfm2", { layer_types: ["conv", "mamba"] }, "layer_types.1", false],
    ["lfm2", { conv_L_cache: 1 }, "conv_L_cache", true],
    ["lfm2", { intermediate_size: undefined }, "block_ff_dim", false],
    ["granite", { residual_multiplier: 0 }, "residual_multiplier", false],
    ["phi3", { partial_rotary_factor: 0.4 }, "partial_rotary_factor", false],
    ["phi3", { partial_rotary_factor: 2 }, "partial_rotary_factor", false],
    ["stablelm", { qk_layernorm: true }, "qk_layernorm", true],
    ["stablelm", { use_parallel_residual: true }, "use_parallel_residual", true]
  ])("%s refuses %j, naming %s", (family, changes, path, unsupported) => {
    const [first] = problems(changes, family)
    assert.deepStrictEqual([first?.path, first?.unsupported], [path, unsupported])
  })
})

describe("phi3", () => {
  it("reads su and yarn, as its first files say, as longrope that begins after 4096 positions", () => {
    const factors = { short_factor: [1, 1, 1, 2], long_factor: [2, 2, 2, 4] }
    const ropesOf = (type: string) =>
      model("phi3", changed({ max_position_embeddings: 8192, rope_scaling: { type, ...factors } })).facts.ropes
    assert.strictEqual(ropesOf("longrope")[0]?.long?.above, 4096)
    assert.strictEqual(ropesOf("longrope")[0]?.long?.keeps, false)
    assert.deepStrictEqual(ropesOf("su"), ropesOf("longrope"))
    assert.deepStrictEqual(ropesOf("yarn"), ropesOf("longrope"))
  })
})

const lfm2 = (changes: Record<string, unknown>) => model("lfm2", changed(changes)).facts
const kinds = (changes: Record<string, unknown>) => lfm2(changes).layers.map(({ kind }) => kind)
const noWeights = (name: string) => Result.getOrThrow(Result.fail(name))

describe("lfm2", () => {
  it("has convolutions in the layers that are not named as attention, in either style; attention where none is said", () => {
    assert.deepStrictEqual(kinds({}), ["attention", "attention"])
    assert.deepStrictEqual(kinds({ full_attn_idxs: [1] }), ["convolution", "attention"])
    const types = { layer_types: ["full_attention", "conv"] }
    assert.deepStrictEqual(kinds({ ...types, full_attn_idxs: [1] }), ["attention", "convolution"])
    assert.deepStrictEqual(lfm2({ ...types, conv_L_cache: 5, hidden_size: 64 }).layers[1], {
      kind: "convolution",
      stateRows: 4,
      stateWidth: 64
    })
    assert.deepStrictEqual(lfm2({ full_attn_idxs: [] }).ropes, [])
  })

  // transformers 5.23, Lfm2MLP of a config with block_ff_dim and these keys
  it.each([
    [10_240, {}, 6912],
    [12_288, {}, 8192],
    [150, { block_multiple_of: 16, block_ffn_dim_multiplier: 1 }, 112],
    [150, { block_multiple_of: 16, block_ffn_dim_multiplier: 1.3 }, 144],
    [150, { block_ffn_dim_multiplier: null }, 100],
    [150, { block_auto_adjust_ff_dim: false }, 150]
  ])("makes of an MLP's %i and %j a width of %i", (width, changes, expected) => {
    assert.strictEqual(lfm2({ ...changes, block_ff_dim: width }).intermediate, expected)
    assert.strictEqual(lfm2({ ...changes, intermediate_size: width }).intermediate, expected)
  })

  it("is tied unless a key says otherwise, the old one before the new", () => {
    assert.strictEqual(lfm2({ tie_word_embeddings: undefined }).head, "model.embed_tokens.weight")
    assert.strictEqual(lfm2({ tie_word_embeddings: false }).head, "lm_head.weight")
    assert.strictEqual(lfm2({ tie_word_embeddings: false, tie_embedding: true }).head, "model.embed_tokens.weight")
  })

  it("has other parts for convolutions, and no others", () => {
    const mixed = model("lfm2", changed({ full_attn_idxs: [1] }))
    assert.throws(() => mixed.pre(0, noWeights), "layer 0 of lfm2 is a convolution, it has no PRE")
    assert.throws(() => mixed.conv(1, noWeights, "token"), "layer 1 of lfm2 is attention, it has no CONV")
  })
})

const caps = (changes: Record<string, unknown>) => {
  const { attentionSoftCap, logitSoftCap } = model("gemma2", changed(changes)).facts
  return [attentionSoftCap, logitSoftCap]
}

describe("caps", () => {
  it("gemma2: a number, none for null, the family's where the key is absent", () => {
    assert.deepStrictEqual(caps({}), [50, 30])
    assert.deepStrictEqual(caps({ attn_logit_softcapping: null, final_logit_softcapping: null }), [
      undefined,
      undefined
    ])
    assert.deepStrictEqual(caps({ attn_logit_softcapping: 4, final_logit_softcapping: 5 }), [4, 5])
  })

  // transformers 5.24: the logits of the case gemma3-text are the same to the last bit with and without the key
  it("gemma3_text: scores are not capped, with a warning", () => {
    const example = readCase("gemma3-text")
    const plain = model("gemma3_text", example.config)
    const capped = model("gemma3_text", { ...example.config, attn_logit_softcapping: 2 })
    const weights = finder(example.tensors, plain.tensors)
    assert.deepStrictEqual(capped.cache(0, weights), plain.cache(0, weights))
    assert.deepStrictEqual(capped.facts, plain.facts)
    assert.deepStrictEqual([plain.warnings.length, capped.warnings.length], [0, 1])
    assert.include(capped.warnings[0], "attn_logit_softcapping")
  })
})

const activation = (changes: Record<string, unknown>) => model("gemma", changed(changes)).facts.activation

describe("gemma", () => {
  it("has the activation that hidden_act names, whatever hidden_activation says", () => {
    assert.strictEqual(activation({ hidden_act: "gelu", hidden_activation: "silu" }), "gelu_pytorch_tanh")
    assert.strictEqual(activation({ hidden_act: undefined, hidden_activation: "silu" }), "gelu_pytorch_tanh")
  })
})

const nested = {
  full_attention: { rope_type: "default", rope_theta: 3000 },
  sliding_attention: { rope_type: "default", rope_theta: 100 }
}
const typedRopes = (changes: Record<string, unknown>) =>
  model("gemma3_text", changed({ layer_types: ["full_attention", "sliding_attention"], ...changes })).facts.ropes

describe("gemma3_text", () => {
  it("puts rope_scaling over the settings of the layers that see everything", () => {
    assert.deepStrictEqual(
      typedRopes({ rope_scaling: { rope_type: "linear", factor: 2 }, rope_parameters: nested }),
      typedRopes({
        rope_parameters: { ...nested, full_attention: { rope_type: "linear", factor: 2, rope_theta: 3000 } }
      })
    )
  })

  it("does not read truncate, nor original positions beside the settings", () => {
    const yarn = { rope_type: "yarn", factor: 4, original_max_position_embeddings: 32, rope_theta: 1e4 }
    const full = (more: Record<string, unknown>, beside = {}) =>
      typedRopes({ ...beside, rope_parameters: { ...nested, full_attention: { ...yarn, ...more } } })
    assert.deepStrictEqual(full({ truncate: false }), full({}))
    assert.deepStrictEqual(full({}, { original_max_position_embeddings: 16 }), full({}))
  })
})

describe("facts", () => {
  it("of a case say what a runner needs", () => {
    const { facts } = model("llama", readCase("llama-tied-rope-llama3").config)
    const { layers, ropes, ...rest } = facts
    assert.deepStrictEqual(rest, {
      family: "llama",
      hidden: 64,
      vocabulary: 304,
      heads: 4,
      keyValueHeads: 2,
      headSize: 24,
      intermediate: 128,
      positions: 256,
      normEpsilon: 1e-5,
      activation: "silu",
      embedding: { tensor: "model.embed_tokens.weight", multiplier: 1 },
      head: "model.embed_tokens.weight",
      ropeTheta: 10_000,
      logitSoftCap: undefined,
      attentionSoftCap: undefined
    })
    assert.deepStrictEqual(layers[0], {
      kind: "attention",
      queryWidth: 96,
      cacheWidth: 48,
      window: undefined,
      rope: "full"
    })
    assert.deepStrictEqual(
      ropes.map(({ attentionFactor, inverseFrequencies, name }) => [name, inverseFrequencies.length, attentionFactor]),
      [["full", 12, 1]]
    )
  })
})
