import { Effect, FileSystem, Option, type PlatformError, Result } from "effect"
import { faultOf } from "../tensor/Fault.ts"
import { JsonInvalid, NotFound, PointerFile, TooLarge, Unreadable } from "./FileReason.ts"
import * as Json from "./Json.ts"
import { SourceError } from "./SourceError.ts"

/** A file as it was when it was read: what tells that it has not changed since. */
export interface SourceFile {
  /** absolute, as the checkpoint names it */
  readonly path: string
  /** absolute, without symbolic links (the files of a Hugging Face cache are links); link or copy this one */
  readonly real: string
  readonly bytes: number
  readonly mtimeMillis: number
}

const pointerStart = "version https://git-lfs.github.com/spec/"

/** A pointer file has about 130 bytes. */
const pointerBytes = 1024

/** Fails with what the system said about `path`. */
export const systemError = (path: string) => (error: PlatformError.PlatformError): SourceError =>
  new SourceError({
    path,
    reason: error.reason._tag === "NotFound" ? new NotFound() : new Unreadable({ detail: faultOf(error) })
  })

/** Size, time and real path of a regular file; anything else fails. */
export const identify = Effect.fn("SourceFile.identify")(function*(path: string) {
  const fs = yield* FileSystem.FileSystem
  const info = yield* Effect.mapError(fs.stat(path), systemError(path))
  if (info.type !== "File") {
    return yield* new SourceError({ path, reason: new Unreadable({ detail: `it is a ${info.type}, not a file` }) })
  }
  const real = yield* Effect.mapError(fs.realPath(path), systemError(path))
  const mtimeMillis = Option.match(info.mtime, { onNone: () => 0, onSome: (time) => time.getTime() })
  return { path, real, bytes: Number(info.size), mtimeMillis } satisfies SourceFile
})

/** Reads `length` bytes at `offset`; fewer where the file ends before. The caller has bounded `length`. */
export const readBytes = Effect.fn("SourceFile.readBytes")(function*(path: string, offset: number, length: number) {
  const fs = yield* FileSystem.FileSystem
  const bytes = new Uint8Array(length)
  const read = Effect.gen(function*() {
    const file = yield* fs.open(path)
    let done = 0
    while (done < length) {
      const got = yield* file.read(bytes.subarray(done), { position: BigInt(offset + done) })
      if (got === 0) break
      done += got
    }
    return bytes.subarray(0, done)
  })
  return yield* Effect.mapError(Effect.scoped(read), systemError(path))
})

/** The reason if `head`, the first bytes of a file, begins a git-lfs pointer. */
export const pointerIn = (head: Uint8Array): PointerFile | undefined => {
  const text = new TextDecoder("latin1").decode(head.subarray(0, pointerBytes))
  return text.startsWith(pointerStart)
    ? new PointerFile({ bytes: /\nsize ([0-9]{1,20})\n/.exec(text)?.[1] })
    : undefined
}

/** Fails if the file is a git-lfs pointer. */
export const refusePointer = Effect.fn("SourceFile.refusePointer")(function*(path: string) {
  const reason = pointerIn(yield* readBytes(path, 0, pointerBytes))
  if (reason !== undefined) return yield* new SourceError({ path, reason })
})

/** UTF-8 bytes → text, or where they are not UTF-8. */
export const decodeText = (bytes: Uint8Array, what: string): Result.Result<string, JsonInvalid> =>
  Result.try({
    try: () => new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes),
    catch: () => new JsonInvalid({ what, line: 1, column: 1, problem: "it is not UTF-8 text" })
  })

/** The JSON value in a UTF-8 text; `what` names the text in the error ("the header"). */
export const parseJson = (
  bytes: Uint8Array,
  what: string,
  numbers: Json.Numbers
): Result.Result<unknown, JsonInvalid> =>
  Result.flatMap(
    decodeText(bytes, what),
    (text) => Result.mapError(Json.parse(text, numbers), (problem) => new JsonInvalid({ what, ...problem }))
  )

/** Reads a JSON file of at most `limit` bytes, with its identity. */
export const readJson = Effect.fn("SourceFile.readJson")(function*(path: string, limit: number, numbers: Json.Numbers) {
  const file = yield* identify(path)
  if (file.bytes > limit) return yield* new SourceError({ path, reason: new TooLarge({ limit, found: file.bytes }) })
  const bytes = yield* readBytes(path, 0, file.bytes)
  const pointer = pointerIn(bytes)
  if (pointer !== undefined) return yield* new SourceError({ path, reason: pointer })
  const json = yield* Effect.mapError(
    Effect.fromResult(parseJson(bytes, "the file", numbers)),
    (reason) => new SourceError({ path, reason })
  )
  return { file, json }
})
