import { readFileSync } from "node:fs"
import { join } from "node:path"
import { tinyLlama, write } from "../gguf/Writer.ts"
import { filesOf, readFolder } from "../quantized/Folder.ts"
import { mutateBytes, mutateFolder, mutateJson } from "./Mutate.ts"

const fixtures = join(import.meta.dirname, "../../fixtures")

const read = (path: string): Uint8Array => new Uint8Array(readFileSync(join(fixtures, path)))

/** A damaged checkpoint: its files by name, and which of them is opened; "": the folder. */
export interface Damaged {
  readonly files: ReadonlyMap<string, Uint8Array>
  readonly opened: string
}

/** Makes the damaged checkpoints of a kind: which base is damaged follows from `index`, how from `chance`. */
type Kind = () => (index: number, chance: () => number) => Damaged

/** More than a first read takes in, so that the reader has to read again. */
const longText = "a".repeat(1_200_000)

/** GGUF headers: byte-level, with scores, the control of the negative cases, and one that is read in steps. */
const gguf: Kind = () => {
  const long = write({
    ...tinyLlama,
    values: { "general.description": { text: longText }, ...tinyLlama.values }
  })
  const bases = [
    ...["negative/valid", "phi3-Q5_1", "qwen3-Q4_1"].map((name) => ({
      file: read(`gguf/${name}.gguf`),
      header: [0, 12_000] as const
    })),
    { file: long, header: [longText.length, longText.length + 2200] as const }
  ]
  return (index, chance) => {
    const { file, header } = bases[index % bases.length] ?? { file: new Uint8Array(16), header: [0, 16] as const }
    return { files: new Map([["damaged.gguf", mutateBytes(file, header, chance)]]), opened: "damaged.gguf" }
  }
}

const encoder = new TextEncoder()

/** A safetensors file with another header. */
const withHeader = (file: Uint8Array, change: (header: unknown) => unknown): Uint8Array => {
  const length = Number(new DataView(file.buffer, file.byteOffset).getBigUint64(0, true))
  const header = encoder.encode(
    JSON.stringify(change(JSON.parse(new TextDecoder().decode(file.subarray(8, 8 + length)))))
  )
  const whole = new Uint8Array(8 + header.length + file.length - 8 - length)
  new DataView(whole.buffer).setBigUint64(0, BigInt(header.length), true)
  whole.set(header, 8)
  whole.set(file.subarray(8 + length), 8 + header.length)
  return whole
}

/** Headers of safetensors files, as bytes and as JSON, and config.json. */
const safetensors: Kind = () => {
  const bases = ["negative/control", "compressed/negative/valid", "compressed/negative/valid-gptq"].map((name) =>
    new Map(["config.json", "tokenizer.json", "model.safetensors"].map((file) => [file, read(`${name}/${file}`)]))
  )
  return (index, chance) => {
    const files = new Map(bases[index % bases.length])
    const weights = files.get("model.safetensors") ?? new Uint8Array(16)
    const config = files.get("config.json") ?? new Uint8Array()
    const what = chance()
    if (what < 0.4) files.set("model.safetensors", mutateBytes(weights, [0, 3000], chance))
    else if (what < 0.8) files.set("model.safetensors", withHeader(weights, (header) => mutateJson(header, chance)))
    else {
      const json: unknown = JSON.parse(new TextDecoder().decode(config))
      files.set("config.json", encoder.encode(JSON.stringify(mutateJson(json, chance))))
    }
    return { files, opened: "" }
  }
}

/** Settings of folders that were quantised before, and the tensors that they are about. */
const quantized: Kind = () => {
  const folders = ["negative/valid", "negative/valid-gptq", "llama-fp8-dynamic", "llama-autoawq-g32", "llama-nvfp4a16"]
    .map(readFolder)
  return (index, chance) => {
    const folder = folders[index % folders.length] ?? { config: {}, tensors: new Map() }
    return { files: filesOf(mutateFolder(folder, chance)), opened: "" }
  }
}

/** What is damaged, by name. */
export const kinds = { gguf, safetensors, quantized } as const satisfies Readonly<Record<string, Kind>>
