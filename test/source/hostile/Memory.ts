import { ByteSize, Effect, FileSystem, Option, PlatformError } from "effect"

const none = {
  atime: Option.none(),
  birthtime: Option.none(),
  dev: 0n,
  ino: Option.none(),
  mode: 0o644,
  mtime: Option.none(),
  nlink: Option.none(),
  uid: Option.none(),
  gid: Option.none(),
  rdev: Option.none(),
  blksize: Option.none(),
  blocks: Option.none()
} as const

const missing = (method: string) => (path: string) =>
  Effect.fail(PlatformError.systemError({ _tag: "NotFound", module: "FileSystem", method, pathOrDescriptor: path }))

const unused = Effect.die(new Error("nothing is written"))

const opened = (bytes: Uint8Array): FileSystem.File => ({
  [FileSystem.FileTypeId]: FileSystem.FileTypeId,
  stat: unused,
  seek: () => unused,
  sync: unused,
  read: (buffer, options) =>
    Effect.sync(() => {
      const at = Number(options?.position ?? 0)
      const part = bytes.subarray(at, at + buffer.length)
      buffer.set(part)
      return part.length
    }),
  readAlloc: () => unused,
  truncate: () => unused,
  write: () => unused,
  writeAll: () => unused
})

/** One folder, `/hostile`, of these files, in memory: a thousand of them take less time than one on a disk. */
export const folderOf = (files: ReadonlyMap<string, Uint8Array>) => {
  const find = (path: string) => files.get(path.replace("/hostile/", ""))
  return FileSystem.layerNoop({
    exists: (path) => Effect.succeed(find(path) !== undefined),
    realPath: Effect.succeed,
    readDirectory: () => Effect.succeed([...files.keys()]),
    stat: (path) => {
      const bytes = find(path)
      if (path === "/hostile") return Effect.succeed({ ...none, type: "Directory", size: ByteSize.bytes(0) })
      return bytes === undefined
        ? missing("stat")(path)
        : Effect.succeed({ ...none, type: "File", size: ByteSize.bytes(bytes.length) })
    },
    open: (path) => {
      const bytes = find(path)
      return bytes === undefined ? missing("open")(path) : Effect.succeed(opened(bytes))
    }
  })
}
