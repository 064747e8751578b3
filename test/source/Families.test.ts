import { assert, describe, it } from "@effect/vitest"
import { Runtime } from "effect"
import { readFileSync } from "node:fs"
import { join } from "node:path"
import { architectures } from "../../src/arch/registry.ts"
import { alike, type Checkpoint, familyMissing, unsupportedArchitecture } from "../../src/source/Checkpoint.ts"
import type { Tensor } from "../../src/tensor/Tensor.ts"

type Config = Readonly<Record<string, unknown>>
type Held = Pick<Checkpoint, "config" | "tensors" | "unheld">

const configOf = (name: string): Config =>
  JSON.parse(readFileSync(join(import.meta.dirname, "../fixtures/text", name, "config.json"), "utf8"))

const tensor = (name: string, shape: ReadonlyArray<number>): Tensor => ({
  name,
  dtype: "bf16",
  shape,
  range: { file: "model.safetensors", offset: 0, length: 0 }
})

/** What a family expects of this config, as a checkpoint has it; `rename` undefined: the tensor is left out. */
const checkpoint = (
  family: string,
  config: Config,
  claims: Config,
  rename: (name: string) => string | undefined = (name) => name
): Held => {
  const read = architectures.find(({ name }) => name === family)?.read(config)
  if (read?._tag !== "Success") throw new Error(`${family} does not read this`)
  const tensors = read.success.tensors.flatMap(({ name, shape }) => {
    const other = rename(name)
    return other === undefined ? [] : [[other, tensor(other, shape)] as const]
  })
  return { config: { ...config, ...claims }, tensors: new Map(tensors), unheld: new Map() }
}

const told = (held: Held): string => {
  const error = unsupportedArchitecture("config.json", String(held.config["model_type"]), architectures, held)
  assert.strictEqual(error[Runtime.errorExitCode], 4)
  assert.include(error.message, "supported families: gemma, gemma2")
  return error.message
}

const llama = configOf("llama-tied-rope-llama3")
const gemma3 = configOf("gemma3-text")

const inner = (name: string) => name.replace(/^model\./, "model.language_model.")

describe("unsupportedArchitecture", () => {
  it("finds the family by class and tensors, whatever the name is", () => {
    for (const type of ["deepseek_v3", "zebra"]) {
      const held = checkpoint("llama", llama, { model_type: type, architectures: ["LlamaForCausalLM"] })
      assert.include(told(held), "nearest: llama, whose tensors these are, all of them and no others")
      assert.include(told(held), "set model_type to llama in a copy of the folder")
    }
  })

  it("goes by tensors before names: gemma3 with text tensors is no gemma", () => {
    const message = told(checkpoint("gemma3_text", gemma3, { model_type: "gemma3" }))
    assert.include(message, "set model_type to gemma3_text")
    assert.notInclude(message, "gemma, whose")
  })

  it("says what differs, and does not advise another model_type", () => {
    const names: Readonly<Record<string, string>> = {
      "self_attn.q_proj.weight": "self_attn.q_a_proj.weight",
      "self_attn.k_proj.weight": "self_attn.kv_a_proj_with_mqa.weight"
    }
    const message = told(
      checkpoint(
        "llama",
        llama,
        { model_type: "deepseek_v3", architectures: ["DeepseekV3ForCausalLM"], kv_lora_rank: 512 },
        (name) => name.replace(/self_attn\.[qk]_proj\.weight$/, (part) => names[part] ?? part)
      )
    )
    assert.match(
      message,
      /nearest: .*llama.*; differs: 2 tensors a layer that .* has not, such as self_attn\.q_a_proj\.weight and/
    )
    assert.include(message, "2 tensors a layer of")
    assert.include(message, "config.json also has kv_lora_rank (latent attention)")
    assert.notInclude(message, "set model_type")
  })

  it("does not advise a family that looks past a setting, or one of several that tensors do not tell apart", () => {
    const scaled = checkpoint("llama", llama, {
      model_type: "zebra",
      architectures: ["LlamaForCausalLM"],
      logits_scaling: 8
    })
    assert.include(told(scaled), "config.json also has logits_scaling (scaled logits)")
    assert.notInclude(told(scaled), "set model_type")
    const open = told(checkpoint("llama", llama, { model_type: "zebra", architectures: ["ZebraForCausalLM"] }))
    assert.include(open, "though these compute differently")
    assert.notInclude(open, "set model_type")
  })

  it("tells models of text and images what is compiled of them", () => {
    const claims = { model_type: "gemma3", text_config: gemma3, vision_config: { hidden_size: 8 } }
    const whole = checkpoint("gemma3_text", gemma3, claims, inner)
    const tower = "model.vision_tower.encoder.layers.0.mlp.fc1.weight"
    const message = told({ ...whole, tensors: new Map([...whole.tensors, [tower, tensor(tower, [8, 8])]]) })
    assert.include(message, "models of text and images are not compiled yet; its language model is a gemma3_text")
    assert.include(message, "save it on its own with transformers")
    assert.include(
      told(checkpoint("gemma3_text", gemma3, claims)),
      "put the content of text_config in the place of config.json"
    )
    const flat = told(checkpoint("qwen2", configOf("qwen2-tied"), { model_type: "qwen2_vl", vision_config: {} }))
    assert.include(flat, "its language model may be a qwen2")
  })

  it("says why no family reads a config, and stays bounded where it claims many layers", () => {
    const bare = { config: { model_type: "gpt9", n_embd: 8 }, tensors: new Map<string, Tensor>(), unheld: new Map() }
    assert.include(told(bare), "no family reads such a config.json (")
    const held = checkpoint("llama", llama, { model_type: "llama9", num_hidden_layers: 9999 })
    assert.include(told(held), "num_hidden_layers: expected 3, as many as the files hold, found 9999")
  })
})

describe("familyMissing", () => {
  it("names the key, and is about a broken file", () => {
    const error = familyMissing("config.json", undefined, architectures)
    assert.include(error.message, "model_type: expected the name of the model's family")
    assert.include(error.message, "found nothing")
    assert.strictEqual(error[Runtime.errorExitCode], 3)
  })
})

describe("alike", () => {
  it("names the families that have exactly the tensors", () => {
    const held = checkpoint("qwen3", configOf("qwen3"), { model_type: "llama" })
    assert.deepStrictEqual(alike(held, architectures, held.config), ["the files hold exactly the tensors of qwen3"])
    assert.deepStrictEqual(alike({ ...held, tensors: new Map() }, architectures, held.config), [])
  })
})
