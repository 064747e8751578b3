// node:crypto because Effect's digest wants all bytes at once; outputs are gigabytes.
import { Effect, FileSystem, Option, Schema } from "effect"
import { createHash } from "node:crypto"

/** A file that a step wrote. `path` relative to the output folder; `mtimeMillis` since 1970. */
const Output = Schema.Struct({
  path: Schema.String,
  bytes: Schema.Int,
  mtimeMillis: Schema.Finite,
  /** null: known by size and time alone; one of another time counts as damaged */
  sha256: Schema.NullOr(Schema.String)
})

/** `.llima/steps/<step>.json`: a step is finished, from what (`key`), and what it wrote. */
export const Stamp = Schema.Struct({
  /** raised when a reader of an older stamp could go wrong */
  format: Schema.Literal(1),
  key: Schema.String,
  outputs: Schema.Array(Output),
  /** what later steps and the report want to know of the step: errors per part, sizes */
  facts: Schema.optionalKey(Schema.Unknown),
  /** what it took */
  seconds: Schema.optionalKey(Schema.Finite)
})
export type Stamp = typeof Stamp.Type

/** A stamp from its file's text; none for what is no stamp. */
export const decodeStamp: (text: string) => Option.Option<Stamp> = Schema.decodeUnknownOption(
  Schema.fromJsonString(Stamp)
)

/** The file's name of a step's stamp; a step's name may hold "/" and ":". */
export const stampName = (step: string): string => `${encodeURIComponent(step)}.json`

const hashChunk = 1 << 20

/** The sha256 of a file, hex. */
export const sha256Of = (path: string) =>
  Effect.scoped(Effect.gen(function*() {
    const fs = yield* FileSystem.FileSystem
    const file = yield* fs.open(path, { flag: "r" })
    const buffer = new Uint8Array(hashChunk)
    const hash = createHash("sha256")
    for (let read = yield* file.read(buffer); read > 0; read = yield* file.read(buffer)) {
      hash.update(buffer.subarray(0, read))
    }
    return hash.digest("hex")
  }))
