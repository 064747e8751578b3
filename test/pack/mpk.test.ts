import { NodeServices } from "@effect/platform-node"
import { assert, describe, layer } from "@effect/vitest"
import { Effect, FileSystem, Layer, Path, Runtime } from "effect"
import { spawnSync } from "node:child_process"
import { createHash } from "node:crypto"
import { gunzipSync } from "node:zlib"
import type { Entry } from "../../src/pack/Entry.ts"
import { Mpk } from "../../src/pack/Mpk.ts"

const has = (program: string) => spawnSync(program, ["--version"]).status === 0
const sha256 = (bytes: Uint8Array) => createHash("sha256").update(bytes).digest("hex")

/** Bytes that do not compress, the same in every run. */
const noise = (length: number, seed: number) => {
  const bytes = new Uint8Array(length)
  let state = seed
  for (let i = 0; i < length; i++) {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0
    bytes[i] = state >>> 24
  }
  return bytes
}

// Longer than two chunks, and no multiple of a stored block.
const weights = noise(5_000_003, 1)

const list = `
import hashlib, json, sys, tarfile
with tarfile.open(sys.argv[1], "r:gz") as archive:
    print(json.dumps([[m.name, m.size, m.mtime, m.mode, m.uid, hashlib.sha256(archive.extractfile(m).read()).hexdigest()] for m in archive]))
`

const prepare = Effect.gen(function*() {
  const fs = yield* FileSystem.FileSystem
  const path = yield* Path.Path
  const folder = yield* fs.makeTempDirectoryScoped()
  const source = path.join(folder, "weights.safetensors")
  yield* fs.writeFile(source, weights)
  const entries: ReadonlyArray<Entry> = [
    { name: "group_pre_0.onnx", content: { kind: "bytes", bytes: noise(70_000, 2) } },
    {
      name: "weights/w.bin",
      content: {
        kind: "ranges",
        ranges: [{ file: source, offset: 3, length: 4_500_000 }, { zeros: 100_001 }, {
          file: source,
          offset: 0,
          length: 3
        }]
      }
    },
    { name: "manifest.json", content: { kind: "bytes", bytes: new TextEncoder().encode("{}") } }
  ]
  const contents = [
    noise(70_000, 2),
    Buffer.concat([weights.subarray(3, 4_500_003), new Uint8Array(100_001), weights.subarray(0, 3)]),
    new TextEncoder().encode("{}")
  ]
  return { folder, source, entries, contents, at: (name: string) => path.join(folder, name) }
})

layer(Mpk.layer.pipe(Layer.provideMerge(NodeServices.layer)), { excludeTestServices: true })("Mpk.write", (it) => {
  describe.each(["fast", "best"] as const)("%s", (compression) => {
    it.effect("returns the size and the sha256 of the file that it wrote", () =>
      Effect.gen(function*() {
        const fs = yield* FileSystem.FileSystem
        const { at, entries } = yield* prepare
        const mpk = yield* Mpk
        const written = yield* mpk.write(at("a.tar.gz"), entries, compression)
        const bytes = yield* fs.readFile(at("a.tar.gz"))
        assert.deepStrictEqual(written, { bytes: bytes.length, sha256: sha256(bytes) })
      }))

    it.effect("gives the same bytes every time, and for writes at the same time", () =>
      Effect.gen(function*() {
        const { at, entries } = yield* prepare
        const mpk = yield* Mpk
        const all = yield* Effect.forEach(["a", "b", "c", "d"], (name) => mpk.write(at(name), entries, compression), {
          concurrency: 2
        })
        assert.strictEqual(new Set(all.map((written) => written.sha256)).size, 1)
      }))

    it.effect.skipIf(!has("gzip") || !has("tar"))(
      "is read by gzip and GNU tar (skipped where they are not installed)",
      () =>
        Effect.gen(function*() {
          const { at, contents, entries } = yield* prepare
          const mpk = yield* Mpk
          yield* mpk.write(at("a.tar.gz"), entries, compression)
          assert.strictEqual(spawnSync("gzip", ["-t", at("a.tar.gz")]).status, 0)
          const found = entries.map(({ name }) =>
            sha256(spawnSync("tar", ["xzOf", at("a.tar.gz"), name], { maxBuffer: 1 << 24 }).stdout)
          )
          assert.deepStrictEqual(found, contents.map(sha256))
        })
    )

    it.effect.skipIf(!has("python3"))(
      "is read by Python's tarfile (skipped without python3)",
      () =>
        Effect.gen(function*() {
          const { at, contents, entries } = yield* prepare
          const mpk = yield* Mpk
          yield* mpk.write(at("a.tar.gz"), entries, compression)
          const { stderr, stdout } = spawnSync("python3", ["-c", list, at("a.tar.gz")], { encoding: "utf8" })
          assert.strictEqual(stderr, "")
          const expected = contents.map((bytes, i) => [entries[i]?.name, bytes.length, 0, 0o644, 0, sha256(bytes)])
          assert.deepStrictEqual(JSON.parse(stdout), expected)
        })
    )
  })

  it.effect("unpacks to the same tar whatever the compression, and `best` is smaller where bytes repeat", () =>
    Effect.gen(function*() {
      const fs = yield* FileSystem.FileSystem
      const { at } = yield* prepare
      const mpk = yield* Mpk
      const entries: ReadonlyArray<Entry> = [{
        name: "zeros",
        content: { kind: "ranges", ranges: [{ zeros: 1 << 20 }] }
      }]
      const fast = yield* mpk.write(at("f"), entries, "fast")
      const best = yield* mpk.write(at("b"), entries, "best")
      assert.isTrue(gunzipSync(yield* fs.readFile(at("f"))).equals(gunzipSync(yield* fs.readFile(at("b")))))
      assert.isBelow(best.bytes, fast.bytes / 100)
    }))

  it.effect("writes an archive without entries that is an empty tar", () =>
    Effect.gen(function*() {
      const fs = yield* FileSystem.FileSystem
      const { at } = yield* prepare
      yield* (yield* Mpk).write(at("a"), [], "fast")
      assert.isTrue(gunzipSync(yield* fs.readFile(at("a"))).equals(Buffer.alloc(10_240)))
    }))

  it.effect("names the file that ends before its range, what was expected and found", () =>
    Effect.gen(function*() {
      const { at, source } = yield* prepare
      const ranges = [{ file: source, offset: 4_999_000, length: 4_000 }]
      const error = yield* Effect.flip(
        (yield* Mpk).write(at("a"), [{ name: "w", content: { kind: "ranges", ranges } }], "fast")
      )
      assert.strictEqual(error[Runtime.errorExitCode], 3)
      assert.deepInclude(error.reason, { file: source, offset: 4_999_000, expected: 4_000, found: 1_003 })
    }))

  it.effect("names a source that is not there", () =>
    Effect.gen(function*() {
      const { at } = yield* prepare
      const ranges = [{ file: at("gone.bin"), offset: 0, length: 1 }]
      const error = yield* Effect.flip(
        (yield* Mpk).write(at("a"), [{ name: "w", content: { kind: "ranges", ranges } }], "fast")
      )
      assert.match(error.message, /gone\.bin/)
      assert.strictEqual(error.reason._tag, "SourceUnreadable")
    }))

  it.effect("writes nothing for a name that leads out of the archive", () =>
    Effect.gen(function*() {
      const fs = yield* FileSystem.FileSystem
      const { at } = yield* prepare
      const entries: ReadonlyArray<Entry> = [{ name: "../x", content: { kind: "bytes", bytes: new Uint8Array() } }]
      const error = yield* Effect.flip((yield* Mpk).write(at("a"), entries, "fast"))
      assert.strictEqual(error.reason._tag, "NameRefused")
      assert.isFalse(yield* fs.exists(at("a")))
    }))

  it.effect.skipIf(process.platform !== "linux")(
    "says that the disk is full, with exit code 7 (Linux: /dev/full)",
    () =>
      Effect.gen(function*() {
        const { entries } = yield* prepare
        const error = yield* Effect.flip((yield* Mpk).write("/dev/full", entries, "fast"))
        assert.strictEqual(error[Runtime.errorExitCode], 7)
        assert.deepInclude(error.reason, { _tag: "DiskFull", found: 0 })
      })
  )
})
