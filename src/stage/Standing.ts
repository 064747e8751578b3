import { Effect, FileSystem, Option, Path } from "effect"
import { decodeStamp, sha256Of, type Stamp, stampName } from "./Stamp.ts"

/** The folder of stamps, relative to the output folder. */
export const stepsFolder = ".llima/steps"

/** Size and time of a file. */
export const look = Effect.fnUntraced(function*(file: string) {
  const fs = yield* FileSystem.FileSystem
  const { mtime, size } = yield* fs.stat(file)
  return { bytes: Number(size), mtimeMillis: Option.getOrElse(mtime, () => new Date(0)).getTime() }
})

/** What a step left; none when it never finished, or what it left is no stamp. `root`: the output folder. */
export const readStamp = Effect.fnUntraced(function*(root: string, step: string) {
  const fs = yield* FileSystem.FileSystem
  const path = yield* Path.Path
  return yield* fs.readFileString(path.join(root, stepsFolder, stampName(step))).pipe(
    Effect.map(decodeStamp),
    Effect.orElseSucceed(() => Option.none<Stamp>())
  )
})

/**
 * The step's stamp with its files' times as they are now, when it is finished with this key and they are what it wrote; else none. Size
 * and time are looked at, content if the time differs. Writes nothing.
 */
export const standing = Effect.fnUntraced(function*(root: string, step: string, key: string) {
  const path = yield* Path.Path
  const before = Option.getOrUndefined(yield* readStamp(root, step))
  if (before === undefined || before.key !== key) return Option.none<Stamp>()
  const outputs: Array<Stamp["outputs"][number]> = []
  for (const output of before.outputs) {
    const file = path.join(root, output.path)
    const now = Option.getOrUndefined(yield* Effect.option(look(file)))
    if (now === undefined || now.bytes !== output.bytes) return Option.none<Stamp>()
    if (now.mtimeMillis !== output.mtimeMillis) {
      const sha256 = output.sha256 === null ? undefined : yield* Effect.option(sha256Of(file))
      if (sha256 === undefined || Option.getOrUndefined(sha256) !== output.sha256) return Option.none<Stamp>()
    }
    outputs.push({ ...output, ...now })
  }
  return Option.some<Stamp>({ ...before, outputs })
})

/** Removes the stamps of the steps that wrote these files (relative to `root`), so that `--resume` makes them again. */
export const forget = Effect.fn("Standing.forget")(function*(root: string, files: ReadonlyArray<string>) {
  const fs = yield* FileSystem.FileSystem
  const path = yield* Path.Path
  const folder = path.join(root, stepsFolder)
  const names = yield* Effect.orElseSucceed(fs.readDirectory(folder), () => [])
  yield* Effect.forEach(
    names,
    (name) =>
      Effect.gen(function*() {
        const stamp = decodeStamp(yield* fs.readFileString(path.join(folder, name)))
        const wrote = Option.match(stamp, { onNone: () => [], onSome: ({ outputs }) => outputs })
        if (wrote.some((output) => files.includes(output.path))) yield* fs.remove(path.join(folder, name))
      }).pipe(Effect.ignore)
  )
})
