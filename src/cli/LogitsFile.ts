import { Effect, FileSystem, Path } from "effect"
import { encodeHeader } from "../tensor/Npy.ts"
import { InputInvalid } from "./InputInvalid.ts"

const failed = (path: string) => (found: string) =>
  new InputInvalid({ path, expected: "a file that can be written", found })

/** Fails where a file cannot be written; nothing is made. */
export const checkWritable = Effect.fnUntraced(function*(file: string) {
  const fs = yield* FileSystem.FileSystem
  const path = yield* Path.Path
  const invalid = failed(file)
  const folder = path.dirname(path.resolve(file))
  const there = yield* Effect.option(fs.stat(file))
  if (there._tag === "Some" && there.value.type === "Directory") return yield* invalid("a folder")
  yield* Effect.mapError(
    fs.access(there._tag === "Some" ? file : folder, { writable: true }),
    ({ message, reason }) => invalid(reason._tag === "NotFound" ? `no folder ${folder}` : message)
  )
})

/** Writes `[tokens × vocabulary]` f32 as the passes give it. */
export const logitsWriter = Effect.fnUntraced(function*(path: string, tokens: number, vocabulary: number) {
  const fs = yield* FileSystem.FileSystem
  const invalid = ({ message }: { readonly message: string }) => failed(path)(message)
  const file = yield* Effect.mapError(fs.open(path, { flag: "w" }), invalid)
  yield* Effect.mapError(file.writeAll(encodeHeader("<f4", [tokens, vocabulary])), invalid)
  return (rows: ReadonlyArray<Float32Array>) =>
    Effect.forEach(
      rows,
      ({ buffer, byteLength, byteOffset }) =>
        Effect.mapError(file.writeAll(new Uint8Array(buffer, byteOffset, byteLength)), invalid),
      { discard: true }
    )
})
