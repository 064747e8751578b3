import * as NodeServices from "@effect/platform-node/NodeServices"
import { assert, layer } from "@effect/vitest"
import { Effect, FileSystem, Stream } from "effect"
import { Tar } from "effect/encoding"
import { gzipSync } from "node:zlib"
import { openArchive } from "../../src/run/Archive.ts"

const manifest = JSON.stringify({
  format: 1,
  layer: "layer_0",
  target: "host",
  parts: [],
  weights: { file: "weights.bin", bytes: 4 }
})

const good = [Tar.file("manifest.json", manifest), Tar.file("weights.bin", new Uint8Array(4))]

/** An archive of these entries, and a cache folder. */
const archiveOf = Effect.fnUntraced(function*(entries: ReadonlyArray<Tar.Entry>) {
  const fs = yield* FileSystem.FileSystem
  const folder = yield* fs.makeTempDirectoryScoped()
  const chunks = yield* Stream.fromIterable(entries).pipe(Stream.pipeThroughChannel(Tar.encode()), Stream.runCollect)
  yield* fs.writeFile(`${folder}/layer_0.tar.gz`, gzipSync(Buffer.concat(chunks)))
  const cache = `${folder}/cache`
  yield* fs.makeDirectory(cache)
  return { archive: `${folder}/layer_0.tar.gz`, cache, folder }
})

const refused: ReadonlyArray<{ readonly name: string; readonly entries: typeof good; readonly tag?: string }> = [
  { name: "a path that leads out", entries: [Tar.file("../escaped", "x"), ...good] },
  { name: "an absolute path", entries: [Tar.file("/tmp/llima-escaped", "x"), ...good] },
  { name: "a folder", entries: [Tar.directory("inner"), ...good] },
  { name: "a symbolic link", entries: [Tar.symlink("weights.bin", "/etc/passwd"), ...good] },
  { name: "a hard link", entries: [...good, Tar.hardlink("other.bin", "weights.bin")] },
  { name: "a name twice", entries: [...good, Tar.file("weights.bin", new Uint8Array(4))] },
  { name: "too many files", entries: [...good, ...Array.from({ length: 80 }, (_, i) => Tar.file(`f${i}`, "x"))] },
  {
    name: "no manifest, which a build for other hardware has not",
    tag: "OtherTarget",
    entries: [Tar.file("weights.bin", new Uint8Array(4))]
  },
  {
    name: "weights of another length",
    entries: [Tar.file("manifest.json", manifest), Tar.file("weights.bin", new Uint8Array(5))]
  },
  {
    name: "a manifest of another format",
    entries: [Tar.file("manifest.json", manifest.replace("1", "2")), ...good.slice(1)]
  }
]

layer(NodeServices.layer, { excludeTestServices: true })("openArchive", (it) => {
  it.effect("unpacks files into the cache and nothing else", () =>
    Effect.gen(function*() {
      const fs = yield* FileSystem.FileSystem
      const { archive, cache } = yield* archiveOf(good)
      const { folder } = yield* openArchive(archive, cache)
      assert.deepStrictEqual([...yield* fs.readDirectory(`${cache}/${folder}`)].sort(), [
        "manifest.json",
        "weights.bin"
      ])
      assert.deepStrictEqual(yield* fs.readDirectory(cache), [folder.split("/")[0] ?? ""])
    }).pipe(Effect.scoped))

  it.effect.each(refused)("refuses $name", ({ entries, tag }) =>
    Effect.gen(function*() {
      const fs = yield* FileSystem.FileSystem
      const { archive, cache, folder } = yield* archiveOf(entries)
      const error = yield* Effect.flip(openArchive(archive, cache))
      assert.strictEqual(error.path, archive)
      assert.strictEqual(error.reason._tag, tag ?? "Damaged")
      assert.isFalse(yield* fs.exists(`${folder}/escaped`))
      assert.isFalse(yield* fs.exists("/tmp/llima-escaped"))
    }).pipe(Effect.scoped))

  it.effect("refuses bytes that are no gzip, and an archive that is not there", () =>
    Effect.gen(function*() {
      const fs = yield* FileSystem.FileSystem
      const { archive, cache } = yield* archiveOf(good)
      yield* fs.writeFileString(archive, "not an archive")
      assert.strictEqual((yield* Effect.flip(openArchive(archive, cache))).reason._tag, "Damaged")
      yield* fs.remove(archive)
      const gone = yield* Effect.flip(openArchive(archive, cache))
      assert.include(gone.message, "cannot be read: there is no such file or folder; check the output folder")
      assert.include(gone.message, "`llima-compile MODEL -o OUT --resume`")
      yield* fs.makeDirectory(archive)
      assert.include(
        (yield* Effect.flip(openArchive(archive, cache))).message,
        "a folder stands where a file belongs"
      )
    }).pipe(Effect.scoped))
})
