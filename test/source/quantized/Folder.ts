import { Effect, FileSystem } from "effect"
import { readFileSync } from "node:fs"
import { join } from "node:path"

const root = join(import.meta.dirname, "../../fixtures/compressed")

/** A tensor of a header: dtype as safetensors spells it. */
export interface Entry {
  readonly dtype: string
  readonly shape: ReadonlyArray<number>
  readonly data: Uint8Array
}

/** What is in a folder; to be changed and written again. */
export interface Folder {
  readonly config: unknown
  readonly tensors: ReadonlyMap<string, Entry>
}

const isRecord = (value: unknown): value is Readonly<Record<string, unknown>> =>
  typeof value === "object" && value !== null && !Array.isArray(value)

const numbers = (value: unknown): ReadonlyArray<number> =>
  Array.isArray(value) ? value.filter((one) => typeof one === "number") : []

/** Reads a case of the fixtures. */
export const readFolder = (name: string): Folder => {
  const config: unknown = JSON.parse(readFileSync(join(root, name, "config.json"), "utf8"))
  const bytes = readFileSync(join(root, name, "model.safetensors"))
  const length = Number(bytes.readBigUInt64LE(0))
  const header: unknown = JSON.parse(bytes.toString("utf8", 8, 8 + length))
  const tensors = new Map<string, Entry>()
  for (const [key, entry] of Object.entries(isRecord(header) ? header : {})) {
    if (key === "__metadata__" || !isRecord(entry)) continue
    const [begin = 0, end = 0] = numbers(entry["data_offsets"])
    const data = Uint8Array.from(bytes.subarray(8 + length + begin, 8 + length + end))
    tensors.set(key, { dtype: String(entry["dtype"]), shape: numbers(entry["shape"]), data })
  }
  return { config, tensors }
}

/** The files of a folder that a checkpoint can be opened from, by name. */
export const filesOf = ({ config, tensors }: Folder): ReadonlyMap<string, Uint8Array> => {
  let end = 0
  const entries = Array.from(tensors, ([name, { data, dtype, shape }]) => {
    const begin = end
    end += data.length
    return [name, { dtype, shape, data_offsets: [begin, end] }] as const
  })
  const header = new TextEncoder().encode(JSON.stringify(Object.fromEntries(entries)))
  const length = new Uint8Array(new BigUint64Array([BigInt(header.length)]).buffer)
  const data = Array.from(tensors.values(), (tensor) => tensor.data)
  return new Map([
    ["model.safetensors", Buffer.concat([length, header, ...data])],
    ["config.json", new TextEncoder().encode(JSON.stringify(config))],
    ["tokenizer.json", new TextEncoder().encode("{}")]
  ])
}

/** Writes such a folder. */
export const writeFolder = Effect.fnUntraced(function*(folder: Folder) {
  const fs = yield* FileSystem.FileSystem
  const path = yield* fs.makeTempDirectoryScoped()
  for (const [name, bytes] of filesOf(folder)) yield* fs.writeFile(join(path, name), bytes)
  return path
})
