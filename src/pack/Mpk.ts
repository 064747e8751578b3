// node:fs and node:zlib because FileSystem.File has no scattered reads: with them the bytes of a file land between the headers
// of stored blocks without a copy. Measured, 200 MB, one file to one archive, medians on a shared machine of 2 cores: 0.65 GB/s;
// node:zlib's level 0 0.50 GB/s.
import { Context, Effect, Layer, type Scope } from "effect"
import { createHash } from "node:crypto"
import { type FileHandle, open } from "node:fs/promises"
import { constants, crc32, deflateRaw } from "node:zlib"
import type { ByteRange } from "../tensor/Tensor.ts"
import type { Entry } from "./Entry.ts"
import { gzipEnd, gzipHeader, storedBlock, storedHeader, writeStoredHeader } from "./Gzip.ts"
import {
  DiskFull,
  PackError,
  SourceTruncated,
  SourceUnreadable,
  systemCode,
  systemText,
  Unwritable
} from "./PackError.ts"
import { chunked, type Piece, pieceLength, tarPieces } from "./Tar.ts"

/** `fast` stores, at the speed of the disk; `best` deflates. Both are .tar.gz. */
export type Compression = "fast" | "best"

/** An archive that was written. */
export interface Written {
  readonly bytes: number
  /** of the archive's bytes, hex */
  readonly sha256: string
}

// 2 MB: large enough that a call costs nothing beside its work, small enough to stay in cache between crc and sha256.
const blocksPerChunk = 32
const chunkBytes = blocksPerChunk * storedBlock
const stride = storedBlock + storedHeader
// One chunk is read, one hashed, one written at a time.
const chunksInFlight = 3
// 9 gives the same size to four digits. Measured on real weights: int4 0.918, int8 0.942, bf16 0.718 of the size, 51 MB/s a core.
const bestLevel = 6

/** Stored blocks with room for their headers; `blocks[i]` is the content of block i. */
interface Chunk {
  readonly buffer: Uint8Array
  readonly blocks: ReadonlyArray<Uint8Array>
}

const makeChunk = (): Chunk => {
  const buffer = new Uint8Array(blocksPerChunk * stride)
  const blocks = Array.from(
    { length: blocksPerChunk },
    (_, i) => buffer.subarray(i * stride + storedHeader, (i + 1) * stride)
  )
  return { buffer, blocks }
}

/** The views that hold bytes `from` to `from + length` of the chunk's content. */
const windows = ({ blocks }: Chunk, from: number, length: number): ReadonlyArray<Uint8Array> => {
  const end = from + length
  const first = Math.floor(from / storedBlock)
  return blocks.slice(first, Math.ceil(end / storedBlock)).map((block, i) => {
    const start = (first + i) * storedBlock
    return block.subarray(Math.max(0, from - start), Math.min(storedBlock, end - start))
  })
}

const copyInto = (views: ReadonlyArray<Uint8Array>, bytes: Uint8Array): void => {
  let at = 0
  for (const view of views) {
    view.set(bytes.subarray(at, at + view.length))
    at += view.length
  }
}

const zeroes = (views: ReadonlyArray<Uint8Array>): void => views.forEach((view) => view.fill(0))

const readFully = (handle: FileHandle, range: ByteRange, chunk: Chunk, from: number, path: string) =>
  Effect.gen(function*() {
    let done = 0
    while (done < range.length) {
      const views = windows(chunk, from + done, range.length - done)
      const { bytesRead } = yield* Effect.tryPromise({
        try: () => handle.readv(views, range.offset + done),
        catch: (cause) =>
          new PackError({ path, reason: new SourceUnreadable({ file: range.file, detail: systemText(cause) }) })
      })
      done += bytesRead
      if (bytesRead === 0) {
        const { file, length: expected, offset } = range
        return yield* new PackError({ path, reason: new SourceTruncated({ file, offset, expected, found: done }) })
      }
    }
  })

/** Keeps the file open that was read last: ranges of one file follow each other. */
const makeReader = (path: string) =>
  Effect.gen(function*() {
    let current: { readonly file: string; readonly handle: FileHandle } | undefined
    const close = Effect.suspend(() => {
      const { handle } = current ?? {}
      current = undefined
      return handle === undefined ? Effect.void : Effect.promise(() => handle.close())
    })
    yield* Effect.addFinalizer(() => close)
    const handleOf = (file: string) =>
      Effect.gen(function*() {
        if (current?.file === file) return current.handle
        yield* close
        const handle = yield* Effect.tryPromise({
          try: () => open(file, "r"),
          catch: (cause) => new PackError({ path, reason: new SourceUnreadable({ file, detail: systemText(cause) }) })
        })
        current = { file, handle }
        return handle
      })
    /** Puts the pieces into the chunk, one after the other; gives their bytes. */
    return Effect.fnUntraced(function*(chunk: Chunk, pieces: ReadonlyArray<Piece>) {
      let at = 0
      for (const piece of pieces) {
        const length = pieceLength(piece)
        if (piece.kind === "range") {
          yield* readFully(yield* handleOf(piece.range.file), piece.range, chunk, at, path)
        } else if (piece.kind === "bytes") copyInto(windows(chunk, at, length), piece.bytes)
        else zeroes(windows(chunk, at, length))
        at += length
      }
      return at
    }, Effect.uninterruptible) // a buffer must not be given back while the system still writes into it
  })

const storedBytes = ({ buffer }: Chunk, used: number): ReadonlyArray<Uint8Array> => {
  const count = Math.ceil(used / storedBlock)
  for (let i = 0; i < count; i++) {
    writeStoredHeader(buffer, i * stride, Math.min(storedBlock, used - i * storedBlock))
  }
  return [buffer.subarray(0, used + count * storedHeader)]
}

// Every block is deflated alone, on the system's threads; a sync flush makes the results one stream when they are joined.
const deflated = (chunk: Chunk, used: number): Effect.Effect<ReadonlyArray<Uint8Array>> =>
  Effect.forEach(windows(chunk, 0, used), (block) =>
    Effect.callback<Uint8Array>((resume) => {
      deflateRaw(block, { level: bestLevel, finishFlush: constants.Z_SYNC_FLUSH }, (error, bytes) =>
        resume(error === null ? Effect.succeed(bytes) : Effect.die(error)))
    }), { concurrency: "unbounded" }).pipe(Effect.uninterruptible)

const writeFailed = (path: string, cause: unknown, expected: number, found: number) =>
  new PackError({
    path,
    reason: systemCode(cause) === "ENOSPC"
      ? new DiskFull({ expected, found })
      : new Unwritable({ detail: systemText(cause) })
  })

const makeWriter = (path: string, limit: number) =>
  Effect.gen(function*() {
    const handle = yield* Effect.acquireRelease(
      Effect.tryPromise({ try: () => open(path, "w"), catch: (cause) => writeFailed(path, cause, limit, 0) }),
      (handle) => Effect.promise(() => handle.close())
    )
    let position = 0
    const write = Effect.fnUntraced(function*(parts: ReadonlyArray<Uint8Array>) {
      for (const part of parts) {
        for (let done = 0; done < part.length;) {
          const from = done
          const { bytesWritten } = yield* Effect.tryPromise({
            try: () => handle.write(part, from, part.length - from, position),
            catch: (cause) => writeFailed(path, cause, limit, position)
          })
          done += bytesWritten
          position += bytesWritten
        }
      }
    }, Effect.uninterruptible)
    return { write, written: () => position }
  })

/** Writes archives; the buffers are shared by all of them, because new memory costs more than the work on it. */
export class Mpk extends Context.Service<Mpk, {
  /**
   * Writes the entries in their order as a .tar.gz at `path`; equal entries give equal bytes. Fails for a name that leads out of
   * the archive, a file that is shorter than its range, and a full disk; the file is then incomplete and the caller's to remove.
   */
  readonly write: (
    path: string,
    entries: ReadonlyArray<Entry>,
    compression: Compression
  ) => Effect.Effect<Written, PackError>
}>()("llima/pack/Mpk") {
  static readonly layer: Layer.Layer<Mpk> = Layer.sync(Mpk, () => {
    const idle: Array<Chunk> = []
    const borrow: Effect.Effect<ReadonlyArray<Chunk>, never, Scope.Scope> = Effect.acquireRelease(
      Effect.sync(() => Array.from({ length: chunksInFlight }, () => idle.pop() ?? makeChunk())),
      (chunks) => Effect.sync(() => idle.push(...chunks))
    )
    const write = Effect.fn("Mpk.write")(
      function*(path: string, entries: ReadonlyArray<Entry>, compression: Compression) {
        const pieces = yield* Effect.mapError(
          Effect.fromResult(tarPieces(entries)),
          (reason) => new PackError({ path, reason })
        )
        const total = pieces.reduce((sum, piece) => sum + pieceLength(piece), 0)
        const chunks = yield* borrow
        const fill = yield* makeReader(path)
        const file = yield* makeWriter(path, total + Math.ceil(total / storedBlock) * storedHeader)
        const sha256 = createHash("sha256")
        let crc = 0
        const hash = Effect.fnUntraced(function*(chunk: Chunk, used: number) {
          for (const block of windows(chunk, 0, used)) crc = crc32(block, crc)
          const parts = compression === "fast" ? storedBytes(chunk, used) : yield* deflated(chunk, used)
          for (const part of parts) sha256.update(part)
          return parts
        })
        const chunkOf = (n: number): Chunk => chunks[n % chunksInFlight] ?? makeChunk()

        sha256.update(gzipHeader)
        yield* file.write([gzipHeader])
        const lists = chunked(pieces, chunkBytes)
        const read = (n: number) =>
          Effect.suspend(() => {
            const next = lists.next()
            return next.done === true ? Effect.succeed(0) : fill(chunkOf(n), next.value)
          })
        let used = yield* read(0)
        let ready: ReadonlyArray<Uint8Array> = []
        for (let n = 0; used > 0; n++) {
          const now = used
          const waiting = ready
          // The calls for the next read and the last write are under way while this thread hashes.
          const [next, , parts] = yield* Effect.all([read(n + 1), file.write(waiting), hash(chunkOf(n), now)], {
            concurrency: "unbounded"
          })
          used = next
          ready = parts
        }
        const end = gzipEnd(crc, total)
        sha256.update(end)
        yield* file.write([...ready, end])
        return { bytes: file.written(), sha256: sha256.digest("hex") }
      },
      Effect.scoped
    )
    return Mpk.of({ write })
  })
}
