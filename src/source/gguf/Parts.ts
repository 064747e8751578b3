import { Effect, FileSystem, Path } from "effect"
import { FileMissing, HeaderInvalid } from "../FileReason.ts"
import { SourceError } from "../SourceError.ts"
import { identify, readBytes, refusePointer, type SourceFile, systemError } from "../SourceFile.ts"
import { type Header, parseHeader } from "./Header.ts"
import { Metadata } from "./Metadata.ts"

/** A file whose header was read and found sound. */
export interface Part {
  readonly file: SourceFile
  readonly header: Header
}

/** The files of one model, the first in front. */
export type Parts = readonly [Part, ...ReadonlyArray<Part>]

/** A first read takes most headers in; the largest vocabularies take 15 MB. */
const FIRST_BYTES = 2 ** 20
const MOST_BYTES = 2 ** 26

const parse = Effect.fnUntraced(function*(path: string, bytes: Uint8Array, fileBytes: number) {
  return yield* Effect.mapError(
    Effect.fromResult(parseHeader(bytes, fileBytes)),
    (reason) => new SourceError({ path, reason })
  )
})

/** Reads the header of a GGUF file, and no more of it than twice that. */
export const readHeader = Effect.fn("gguf.readHeader")(function*(path: string) {
  yield* Effect.annotateCurrentSpan({ path })
  yield* refusePointer(path)
  const file = yield* identify(path)
  let length = Math.min(FIRST_BYTES, file.bytes)
  while (true) {
    const header = yield* parse(path, yield* readBytes(path, 0, length), file.bytes)
    if (typeof header !== "number") return { file, header } satisfies Part
    if (header > MOST_BYTES || length === file.bytes) {
      const reason = new HeaderInvalid({
        tensor: undefined,
        expected: `at most ${MOST_BYTES} bytes`,
        found: `${header}`
      })
      return yield* new SourceError({ path, reason })
    }
    length = Math.min(file.bytes, MOST_BYTES, Math.max(2 * length, header))
  }
})

const pattern = /^(.*)-([0-9]{5})-of-([0-9]{5})\.gguf$/i

/** The files of a split of `count`, first to last, one of which is called `name`; undefined where that is no such name. */
export const partNames = (name: string, count: number): readonly [string, ...ReadonlyArray<string>] | undefined => {
  const [, start, , total] = pattern.exec(name) ?? []
  if (start === undefined || total === undefined || Number(total) !== count) return undefined
  const nameOf = (number: number) => `${start}-${String(number).padStart(5, "0")}-of-${total}.gguf`
  return [nameOf(1), ...Array.from({ length: count - 1 }, (_, index) => nameOf(index + 2))]
}

/** The largest models are split in 100. */
const MOST_PARTS = 1000

/** All parts of the split of which one is called `name`. */
const partsBeside = (name: string): readonly [string, ...ReadonlyArray<string>] | undefined => {
  const count = Number(pattern.exec(name)?.[3] ?? 0)
  return count > 0 && count <= MOST_PARTS ? partNames(name, count) : undefined
}

/** A model's name by its file: without the number of the part and the ending. */
export const modelName = (name: string): string => name.replace(/(-[0-9]{5}-of-[0-9]{5})?\.gguf$/i, "") || "model"

const isNamed = (name: string): boolean => name.toLowerCase().endsWith(".gguf")

/** Whether a file is to be read as GGUF: by its first bytes, or by its name, so that a damaged one gets this reader's errors. */
export const isGguf = Effect.fn("gguf.is")(function*(path: string) {
  if (isNamed(path)) return true
  return new TextDecoder("latin1").decode(yield* readBytes(path, 0, 4)) === "GGUF"
})

/**
 * The one GGUF model among a folder's names: its file, or the first of its split; of a split that is not whole a part that is
 * there, whose reading tells what is missing. Undefined where there is none, where there are several, or where the folder
 * holds safetensors.
 */
export const modelIn = (names: ReadonlyArray<string>): string | undefined => {
  if (names.some((name) => name.endsWith(".safetensors"))) return undefined
  const files = names.filter(isNamed)
  if (files.length < 2) return files[0]
  const splits = new Map(files.flatMap((name) => {
    const parts = partsBeside(name)
    return parts === undefined ? [] : [[parts[0], parts] as const]
  }))
  const [parts] = splits.values()
  if (parts === undefined || splits.size > 1) return undefined
  const isWhole = parts.every((name) => files.includes(name))
  if (!isWhole) return parts.find((name) => files.includes(name))
  return files.every((name) => parts.includes(name)) ? parts[0] : undefined
}

const numberOf = Effect.fnUntraced(function*(path: string, meta: Metadata, key: string, least: number) {
  return yield* Effect.mapError(
    Effect.fromResult(meta.integer(key, least)),
    (reason) => new SourceError({ path, reason })
  )
})

const wrong = (path: string, expected: string, found: string, tensor = "split.count") =>
  new SourceError({ path, reason: new HeaderInvalid({ tensor, expected, found }) })

const few = (names: ReadonlyArray<string>): string =>
  names.slice(0, 4).join(", ") + (names.length > 4 ? ` and ${names.length - 4} more` : "")

/** The error for a part whose name does not tell which it is; the names of the others, where they are there, tell its own. */
const misnamed = (
  path: string,
  name: string,
  { count, number }: { readonly number: number; readonly count: number },
  here: ReadonlyArray<string>
): SourceError => {
  const others = here.flatMap((other) => {
    const parts = partNames(other, count)
    return parts === undefined ? [] : [parts]
  })[0]
  const total = String(count).padStart(5, "0")
  const reason = new FileMissing({
    file: others?.[number - 1] ?? `model-${String(number).padStart(5, "0")}-of-${total}.gguf, or such a name,`,
    purpose: `the model is split into ${count} parts, and ${name} says that it is part ${number}`,
    advice: "give each part the name that it was published with, and put all into one folder"
  })
  return new SourceError({ path, reason })
}

/** The header of the file at `path` and, where it is one of a split, of all parts, the first in front. */
export const readParts = Effect.fn("gguf.readParts")(function*(path: string) {
  const fs = yield* FileSystem.FileSystem
  const paths = yield* Path.Path
  const given = yield* readHeader(path)
  const meta = new Metadata(given.header)
  const count = (yield* numberOf(path, meta, "split.count", 0)) ?? 1
  if (count <= 1) return [given] satisfies Parts
  if (count > MOST_PARTS) return yield* wrong(path, `a split into at most ${MOST_PARTS} parts`, `${count}`)
  const folder = paths.dirname(path)
  const name = paths.basename(path)
  const here = (yield* Effect.mapError(fs.readDirectory(folder), systemError(folder))).sort()
  const files = partNames(name, count)
  if (files === undefined) {
    const number = (yield* numberOf(path, meta, "split.no", 0)) ?? 0
    return yield* misnamed(path, name, { number: number + 1, count }, here)
  }
  const missing = files.filter((file) => !here.includes(file))
  if (missing.length > 0) {
    const reason = new FileMissing({
      file: few(missing),
      purpose: `the model is split into ${count} parts`,
      advice: "put all of them into one folder, under the names that they were published with"
    })
    return yield* new SourceError({ path, reason })
  }
  const read = Effect.fnUntraced(function*(file: string, index: number) {
    const at = paths.join(folder, file)
    const part = file === name ? given : yield* readHeader(at)
    const own = new Metadata(part.header)
    const number = yield* numberOf(at, own, "split.no", 0)
    const total = yield* numberOf(at, own, "split.count", 0)
    if (total !== count) return yield* wrong(at, `${count}, as in ${name}`, `${total ?? "no such key"}`)
    if (number !== index) {
      return yield* wrong(at, `${index}, as the file's name says`, `${number ?? "no such key"}`, "split.no")
    }
    return part
  })
  const parts: Parts = [
    yield* read(files[0], 0),
    ...yield* Effect.forEach(files.slice(1), (file, index) => read(file, index + 1))
  ]
  const tensors = parts.reduce((sum, { header }) => sum + header.tensors.size, 0)
  const said = yield* numberOf(parts[0].file.path, new Metadata(parts[0].header), "split.tensors.count", 0)
  if (said !== undefined && said !== tensors) {
    return yield* wrong(path, `${said} tensors in all parts together`, `${tensors}`, "split.tensors.count")
  }
  return parts
})
