import { Effect } from "effect"
import { FileMissing, NotRecognised, PickleOnly, WeightsMissing } from "./FileReason.ts"
import { SourceError } from "./SourceError.ts"
import { pointerIn, readBytes } from "./SourceFile.ts"

/** Bytes that tell what a file is. */
const headBytes = 1024

const startsWith = (head: Uint8Array, text: string): boolean =>
  head.length >= text.length && Array.from(text).every((char, index) => head[index] === char.charCodeAt(0))

const describe = (head: Uint8Array): string => {
  if (head.length === 0) return "an empty file"
  if (startsWith(head, "PK\x03\x04")) return "a zip archive (perhaps a PyTorch pickle)"
  if (head[0] === 0x80 && (head[1] ?? 255) <= 5) return "a Python pickle"
  if (head[8] === 0x7b && head[7] === 0) return "one safetensors file"
  const start = head.subarray(0, 8)
  return start.every((byte) => byte >= 0x20 && byte < 0x7f)
    ? `a file that begins with the text ${JSON.stringify(String.fromCharCode(...start))}`
    : `a file that begins with the bytes ${Array.from(start, (byte) => byte.toString(16).padStart(2, "0")).join(" ")}`
}

/** Why a single file is not a model for us. */
export const unfitFile = Effect.fn("Unfit.file")(function*(path: string) {
  const head = yield* readBytes(path, 0, headBytes)
  const reason = pointerIn(head) ??
    new NotRecognised({ found: describe(head), advice: "give the folder that holds the model" })
  return new SourceError({ path, reason })
})

const isPickle = (name: string): boolean => /\.(bin|pt|pth|ckpt|pkl)(\.index\.json)?$/.test(name)

const few = (names: ReadonlyArray<string>): string =>
  names.slice(0, 5).join(", ") + (names.length > 5 ? ` and ${names.length - 5} more` : "")

const unrecognised = (found: string, advice: string) => new NotRecognised({ found, advice })

/** Why a folder without config.json is not a model for us; `names`: what is in it, sorted. */
export const unfitFolder = (path: string, names: ReadonlyArray<string>): SourceError => {
  const gguf = names.filter((name) => name.toLowerCase().endsWith(".gguf"))
  const reason = names.length === 0
    ? unrecognised("an empty folder", "check the path")
    : names.includes("adapter_config.json")
    ? unrecognised("a LoRA adapter (adapter_config.json)", "give the base model here and the adapter with --lora_path")
    : names.includes("model_index.json")
    ? unrecognised("a diffusers pipeline (model_index.json)", "only language models are compiled")
    : names.includes("params.json")
    ? unrecognised("an original checkpoint (params.json)", "give the folder of the same model in Hugging Face format")
    : gguf.length > 0
    ? unrecognised(`several GGUF models (${few(gguf)})`, "give the path of one of these files")
    : names.some((name) => name.endsWith(".safetensors") || isPickle(name) || name === "tokenizer.json")
    ? new FileMissing({
      file: "config.json",
      purpose: "it says how the model is built",
      advice: "download it from the model's page into this folder"
    })
    : unrecognised(few(names), "check the path")
  return new SourceError({ path, reason })
}

/** Why a folder with config.json, but without model.safetensors and its index, cannot be read. */
export const unfitWeights = (path: string, names: ReadonlyArray<string>): SourceError => {
  const pickles = names.filter(isPickle)
  const others = names.filter((name) => /\.(safetensors|gguf|h5|msgpack|onnx)$/.test(name))
  const shards = others.some((name) => /-of-[0-9]+\.safetensors$/.test(name))
  const reason = others.some((name) => name.endsWith(".safetensors"))
    ? new WeightsMissing({
      found: few(others),
      advice: shards
        ? "download model.safetensors.index.json, which says which tensor is in which file"
        : "the file's name must be model.safetensors"
    })
    : pickles.length > 0
    ? new PickleOnly({ found: pickles })
    : new WeightsMissing({ found: others.length > 0 ? few(others) : "none", advice: "download the model's weights" })
  return new SourceError({ path, reason })
}
