import { Effect, Path } from "effect"
import type { Tensor } from "../tensor/Tensor.ts"
import { HeaderInvalid, IndexInvalid, PathEscapes, ShardMissing } from "./FileReason.ts"
import { type Entry, readSafetensors } from "./safetensors.ts"
import { SourceError } from "./SourceError.ts"
import { readJson, type SourceFile } from "./SourceFile.ts"

/** The one weights file of a checkpoint that is not sharded. */
export const singleName = "model.safetensors"

/** Which shard each tensor of a sharded checkpoint is in. */
export const indexName = "model.safetensors.index.json"

/** An index has about 100 bytes a tensor; the largest known have 5 MB. */
const maxIndexBytes = 64 * 2 ** 20

/** Headers read at a time. */
const concurrency = 8

/** All tensors of a checkpoint, wherever they are. */
export interface Stored {
  readonly tensors: ReadonlyMap<string, Tensor>
  readonly unheld: ReadonlyMap<string, Pick<Entry, "format" | "shape">>
  readonly files: ReadonlyArray<SourceFile>
  readonly warnings: ReadonlyArray<string>
}

const isPlainName = (name: string): boolean => !/[/\\\0]/.test(name) && !["", ".", ".."].includes(name)

const readIndex = Effect.fn("Shards.readIndex")(function*(path: string) {
  const { file, json } = yield* readJson(path, maxIndexBytes, "json")
  const failed = (reason: SourceError["reason"]) => new SourceError({ path, reason })
  const map: unknown = typeof json === "object" && json !== null && "weight_map" in json ? json.weight_map : undefined
  if (typeof map !== "object" || map === null || Array.isArray(map)) {
    return yield* failed(
      new IndexInvalid({ expected: "weight_map to be an object", found: JSON.stringify(map) ?? "nothing" })
    )
  }
  const shards = new Map<string, Array<string>>()
  for (const [tensor, shard] of Object.entries(map)) {
    if (typeof shard !== "string") {
      const found = JSON.stringify(shard)
      return yield* failed(new IndexInvalid({ expected: `a file name for ${tensor}`, found }))
    }
    if (!isPlainName(shard)) return yield* failed(new PathEscapes({ tensor, found: shard }))
    const tensors = shards.get(shard)
    if (tensors === undefined) shards.set(shard, [tensor])
    else tensors.push(tensor)
  }
  return { file, shards }
})

const readSharded = Effect.fn("Shards.readSharded")(function*(folder: string, names: ReadonlyArray<string>) {
  const paths = yield* Path.Path
  const path = paths.join(folder, indexName)
  const { file, shards } = yield* readIndex(path)
  const here = new Set(names)
  const missing = [...shards].filter(([shard]) => !here.has(shard))
  if (missing.length > 0) {
    const reason = new ShardMissing({
      shards: missing.map(([shard]) => shard),
      tensors: missing.reduce((sum, [, tensors]) => sum + tensors.length, 0)
    })
    return yield* new SourceError({ path, reason })
  }
  const read = yield* Effect.forEach(
    shards,
    ([shard, listed]) => Effect.map(readSafetensors(paths.join(folder, shard)), (held) => ({ shard, listed, held })),
    { concurrency }
  )
  const tensors = new Map<string, Tensor>()
  const unheld = new Map<string, Pick<Entry, "format" | "shape">>()
  const warnings: Array<string> = []
  for (const { held, listed, shard } of read) {
    for (const name of listed) {
      const tensor = held.tensors.get(name)
      const other = held.unheld.get(name)
      if (tensor !== undefined) tensors.set(name, tensor)
      else if (other !== undefined) unheld.set(name, other)
      else {
        const expected = `the tensor that ${indexName} places in this shard`
        const reason = new HeaderInvalid({ tensor: name, expected, found: "no tensor of this name" })
        return yield* new SourceError({ path: held.file.path, reason })
      }
    }
    const unlisted = held.tensors.size + held.unheld.size - listed.length
    if (unlisted > 0) warnings.push(`${shard}: ${unlisted} tensors that the index does not list are not read`)
  }
  const files = [file, ...read.map(({ held }) => held.file)]
  return { tensors, unheld, files, warnings } satisfies Stored
})

/** Reads the headers of a folder's weights; undefined where it has no safetensors weights. `names`: what is in the folder. */
export const readStored = Effect.fn("Shards.readStored")(function*(folder: string, names: ReadonlyArray<string>) {
  const paths = yield* Path.Path
  if (names.includes(singleName)) {
    const { file, tensors, unheld } = yield* readSafetensors(paths.join(folder, singleName))
    return { tensors, unheld, files: [file], warnings: [] } satisfies Stored
  }
  return names.includes(indexName) ? yield* readSharded(folder, names) : undefined
})
