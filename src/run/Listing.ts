// node's zlib and file streams, as in Archive.ts: archives are up to gigabytes and nothing of them is kept.
import { Effect, FileSystem, Stream } from "effect"
import { Tar } from "effect/encoding"
import { createReadStream } from "node:fs"
import { pipeline } from "node:stream"
import { createGunzip } from "node:zlib"
import { faultOf } from "../tensor/Fault.ts"
import { Damaged, RunError, Unreadable } from "./RunError.ts"

/** A file of an archive. */
export interface Listed {
  readonly name: string
  readonly bytes: number
}

/** An archive's files, in order, and the text of its manifest. Reads the archive once from end to end and writes nothing. */
export const listArchive = Effect.fn("Listing.listArchive")(function*(archive: string, manifest: string) {
  const fs = yield* FileSystem.FileSystem
  const failed = (reason: RunError["reason"]) => new RunError({ path: archive, reason })
  yield* Effect.mapError(
    fs.access(archive),
    (error) => failed(new Unreadable({ detail: faultOf(error), advice: "check the path" }))
  )
  const damaged = (found: string) => failed(new Damaged({ where: "archive", expected: "a .tar.gz of ours", found }))
  const source = pipeline(createReadStream(archive), createGunzip(), () => {})
  const files: Array<Listed> = []
  const texts: Array<string> = []
  yield* Stream.fromAsyncIterable(source, (cause) => damaged(cause instanceof Error ? cause.message : String(cause)))
    .pipe(
      Stream.pipeThroughChannel(Tar.decode<RunError>()),
      Stream.runForEach(({ body, header }) => {
        files.push({ name: header.path, bytes: header.size })
        if (header.path !== manifest || header.size > 2 ** 20) return Stream.runDrain(body)
        return Effect.map(Stream.mkString(Stream.decodeText(body)), (text) => {
          texts.push(text)
        })
      }),
      Effect.mapError((error) => error._tag === "RunError" ? error : damaged(error.message)),
      Effect.ensuring(Effect.sync(() => source.destroy()))
    )
  return { files, manifest: texts[0] }
})
