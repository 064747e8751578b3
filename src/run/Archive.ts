// Archives are up to gigabytes: node's zlib and file streams in 1 MiB steps, because they are the only ones that keep memory flat here.
import { Effect, FileSystem, Path, Schema, Stream } from "effect"
import { Tar } from "effect/encoding"
import { createHash } from "node:crypto"
import { createReadStream } from "node:fs"
import { pipeline } from "node:stream"
import { createGunzip } from "node:zlib"
import type { Graph } from "../onnx/Graph.ts"
import { decode } from "../onnx/OnnxFile.ts"
import { HostManifest, MANIFEST } from "../target/HostManifest.ts"
import { codeOf, faultOf, quoted } from "../tensor/Fault.ts"
import { Damaged, OtherTarget, RunError, Unreadable } from "./RunError.ts"

const CHUNK = 2 ** 20

/** Files that an archive of ours can have at most: eight programs, the weights, the manifest, and room. */
const MOST_FILES = 64

// Stored blobs do not grow at all; deflate's best on numbers is far below this. What exceeds it wants to fill the disk.
const MOST_GROWTH = 64

const namePattern = /^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$/

/** A layer's archive, unpacked. */
export interface Unpacked {
  /** its folder, relative to the cache's */
  readonly folder: string
  readonly graphs: ReadonlyMap<string, Graph>
}

const short = (text: string): string => createHash("sha256").update(text).digest("hex").slice(0, 24)

const textOf = (cause: unknown): string => cause instanceof Error ? cause.message : String(cause)

const manifestOf = Schema.decodeUnknownEffect(Schema.fromJsonString(HostManifest))

/**
 * Unpacks `mpk/layer_<i>.tar.gz` into `<cache>/<path>/<size and time>/`, whole or not at all, unless it is there already, and reads its
 * graphs; their locations start from the cache's folder. Refuses links, paths, and what is not an archive for the host.
 */
export const openArchive = Effect.fn("Archive.open")(function*(archive: string, cache: string) {
  const fs = yield* FileSystem.FileSystem
  const path = yield* Path.Path
  const unreadable = (cause: unknown, advice = "check the folder") =>
    new RunError({ path: archive, reason: new Unreadable({ detail: faultOf(cause), advice }) })
  const damaged = (where: string, expected: string, found: string) =>
    new RunError({ path: archive, reason: new Damaged({ where, expected, found }) })

  const absolute = path.resolve(archive)
  const info = yield* Effect.mapError(
    fs.stat(absolute),
    (cause) => unreadable(cause, "check the output folder, or make it with `llima-compile MODEL -o OUT --resume`")
  )
  if (info.type === "Directory") return yield* unreadable({ code: "EISDIR" })
  const time = info.mtime._tag === "Some" ? info.mtime.value.getTime() : 0
  const home = short(absolute)
  const folder = `${home}/${short(`${info.size} ${time}`)}`
  const target = path.join(cache, folder)

  const write = Effect.fnUntraced(function*(into: string) {
    const limit = Number(info.size) * MOST_GROWTH + 64 * CHUNK
    const names = new Set<string>()
    let bytes = 0
    const source = pipeline(
      createReadStream(absolute, { highWaterMark: CHUNK }),
      createGunzip({ chunkSize: CHUNK }),
      () => {}
    )
    const chunks: Stream.Stream<Uint8Array, RunError> = Stream.fromAsyncIterable(
      source,
      (cause) => damaged("gzip", "a whole gzip file", textOf(cause))
    )
    yield* chunks.pipe(
      Stream.pipeThroughChannel(Tar.decode<RunError>()),
      Stream.runForEach(({ body, header }) =>
        Effect.gen(function*() {
          bytes += header.size
          if (header.type !== "File" || !namePattern.test(header.path)) {
            return yield* damaged("tar", "plain files without folders", `${header.type} ${JSON.stringify(header.path)}`)
          }
          if (names.has(header.path)) return yield* damaged("tar", "each file once", `${header.path} twice`)
          names.add(header.path)
          if (names.size > MOST_FILES || bytes > limit) {
            return yield* damaged(
              "tar",
              `at most ${MOST_FILES} files and ${limit} bytes`,
              `${names.size} files, ${bytes} bytes`
            )
          }
          const file = yield* fs.open(path.join(into, header.path), { flag: "wx" })
          yield* Stream.runForEach(body, (chunk) => file.writeAll(chunk))
        }).pipe(Effect.scoped)
      ),
      Effect.mapError((error) =>
        error._tag === "RunError"
          ? error
          : error._tag === "TarError"
          ? damaged("tar", "a whole tar archive", error.message)
          : unreadable(error, "free some space on the disk of the cache, or set LLIMA_CACHE to another folder")
      ),
      Effect.ensuring(Effect.sync(() => source.destroy()))
    )
  })

  const present = Effect.orElseSucceed(fs.exists(path.join(target, MANIFEST)), () => false)

  const unpack = Effect.gen(function*() {
    yield* fs.makeDirectory(path.join(cache, home), { recursive: true })
    // what an older archive of this path left behind
    const old = yield* fs.readDirectory(path.join(cache, home))
    yield* Effect.forEach(old, (name) => fs.remove(path.join(cache, home, name), { recursive: true, force: true }))
    const into = path.join(yield* fs.makeTempDirectoryScoped({ directory: cache, prefix: "unpacking-" }), "files")
    yield* fs.makeDirectory(into)
    yield* write(into)
    // another process may have been faster, with the same files
    yield* Effect.catch(
      fs.rename(into, target),
      (error) => Effect.flatMap(present, (there) => there ? Effect.void : Effect.fail(error))
    )
  }).pipe(
    Effect.scoped,
    Effect.mapError((error) =>
      error._tag === "PlatformError"
        ? unreadable(error, "the cache folder must be writable; LLIMA_CACHE names another")
        : error
    )
  )

  if (!(yield* present)) yield* unpack

  const text = yield* Effect.mapError(
    fs.readFileString(path.join(target, MANIFEST)),
    (cause) =>
      codeOf(cause) === "ENOENT"
        ? new RunError({ path: archive, reason: new OtherTarget({ target: undefined }) })
        : unreadable(cause)
  )
  const manifest = yield* Effect.mapError(
    manifestOf(text),
    (error) => damaged(MANIFEST, "format 1 for the host", quoted(error.message))
  )
  if (manifest.weights !== null) {
    const { bytes, file } = manifest.weights
    const size = yield* fs.stat(path.join(target, file)).pipe(
      Effect.map((found) => Number(found.size)),
      Effect.orElseSucceed(() => 0)
    )
    if (!namePattern.test(file) || size !== bytes) return yield* damaged(file, `${bytes} bytes`, `${size}`)
  }
  const graphs = yield* Effect.forEach(manifest.parts, ({ file, name }) =>
    Effect.gen(function*() {
      if (!namePattern.test(file)) return yield* damaged(MANIFEST, "plain file names", JSON.stringify(file))
      const bytes = yield* Effect.mapError(fs.readFile(path.join(target, file)), unreadable)
      const graph = yield* Effect.mapError(
        Effect.fromResult(decode(bytes)),
        ({ expected, found, where }) => damaged(`${file}, ${where}`, expected, found)
      )
      return [name, located(graph, folder)] as const
    }))
  const unpacked: Unpacked = { folder, graphs: new Map(graphs) }
  return unpacked
})

/** The graph with locations below a folder. */
const located = (graph: Graph, folder: string): Graph => ({
  ...graph,
  initializers: graph.initializers.map((initializer) =>
    initializer.data.kind === "external"
      ? { ...initializer, data: { ...initializer.data, location: `${folder}/${initializer.data.location}` } }
      : initializer
  )
})
