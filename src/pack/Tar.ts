import { Result } from "effect"
import type { ByteRange } from "../tensor/Tensor.ts"
import { type Entry, entryLength } from "./Entry.ts"
import { NameRefused } from "./PackError.ts"

/** A stretch of an archive, and where its bytes come from. */
export type Piece =
  | { readonly kind: "bytes"; readonly bytes: Uint8Array }
  | { readonly kind: "zeros"; readonly length: number }
  | { readonly kind: "range"; readonly range: ByteRange }

/** Bytes of a piece. */
export const pieceLength = (piece: Piece): number =>
  piece.kind === "bytes" ? piece.bytes.length : piece.kind === "zeros" ? piece.length : piece.range.length

const block = 512
// GNU tar's and tarfile's default: an archive is a whole number of these.
const record = 10_240
// Eleven octal digits.
const largestOctal = 8 ** 11 - 1
const nameField = 100

const encoder = new TextEncoder()
const octal = (value: number, digits: number) => `${value.toString(8).padStart(digits, "0")}\0`

const fields = (name: string, size: number, type: "0" | "x"): ReadonlyArray<readonly [number, string]> => [
  [0, name],
  [100, octal(type === "0" ? 0o644 : 0, 7)],
  [108, octal(0, 7)], // uid
  [116, octal(0, 7)], // gid
  [124, octal(size, 11)],
  [136, octal(0, 11)], // mtime
  [148, "        "],
  [156, type],
  [257, "ustar\u000000"]
]

/** One 512-byte header: mode 0644, owner 0, time 0. Source: POSIX.1-2001 pax, "ustar Interchange Format". */
const header = (name: string, size: number, type: "0" | "x"): Uint8Array => {
  const bytes = new Uint8Array(block)
  for (const [at, text] of fields(name, size, type)) bytes.set(encoder.encode(text), at)
  const sum = bytes.reduce((total, byte) => total + byte, 0)
  bytes.set(encoder.encode(`${sum.toString(8).padStart(6, "0")}\0 `), 148)
  return bytes
}

/** `length key=value\n`, where the length counts its own digits. */
const paxRecord = (key: string, value: string): string => {
  const rest = encoder.encode(` ${key}=${value}\n`).length
  const fits = [1, 2, 3, 4, 5].find((digits) => String(rest + digits).length === digits) ?? 1
  return `${rest + fits} ${key}=${value}\n`
}

const isAscii = (name: string) => encoder.encode(name).length === name.length
const padding = (length: number, unit: number) => (unit - (length % unit)) % unit

/** The header blocks of a file: ustar, with pax records before it for a name or a size that ustar cannot hold. */
export const tarHeader = (name: string, size: number): ReadonlyArray<Uint8Array> => {
  const fits = isAscii(name) && name.length <= nameField
  const records = (fits ? "" : paxRecord("path", name)) + (size > largestOctal ? paxRecord("size", String(size)) : "")
  const plain = name.replaceAll(/[^\x20-\x7e]/gu, "?").slice(0, nameField)
  const own = header(plain, size > largestOctal ? 0 : size, "0")
  if (records === "") return [own]
  const text = encoder.encode(records)
  const body = new Uint8Array(text.length + padding(text.length, block))
  body.set(text)
  return [header("././@PaxHeader", text.length, "x"), body, own]
}

const refusal = (name: string, seen: ReadonlySet<string>): string | undefined =>
  name === ""
    ? "it is empty"
    : seen.has(name)
    ? "it is there twice"
    : /[\0\\]/u.test(name)
    ? "it has a zero byte or a backslash"
    : name.split("/").some((part) => part === "" || part === "." || part === "..")
    ? "it has an empty name, \".\" or \"..\" in it"
    : undefined

/** The whole archive of the entries, in their order: headers, contents, padding, end. Fails for a name that is refused. */
export const tarPieces = (entries: ReadonlyArray<Entry>): Result.Result<ReadonlyArray<Piece>, NameRefused> => {
  const pieces: Array<Piece> = []
  const seen = new Set<string>()
  let total = 0
  const add = (piece: Piece) => {
    total += pieceLength(piece)
    if (pieceLength(piece) > 0) pieces.push(piece)
  }
  for (const entry of entries) {
    const found = refusal(entry.name, seen)
    if (found !== undefined) return Result.fail(new NameRefused({ name: entry.name, found }))
    seen.add(entry.name)
    const size = entryLength(entry)
    for (const bytes of tarHeader(entry.name, size)) add({ kind: "bytes", bytes })
    if (entry.content.kind === "bytes") add({ kind: "bytes", bytes: entry.content.bytes })
    else {
      for (const range of entry.content.ranges) {
        add("zeros" in range ? { kind: "zeros", length: range.zeros } : { kind: "range", range })
      }
    }
    add({ kind: "zeros", length: padding(size, block) })
  }
  // two empty blocks end an archive
  const end = 2 * block
  add({ kind: "zeros", length: end + padding(total + end, record) })
  return Result.succeed(pieces)
}

const cut = (piece: Piece, from: number, length: number): Piece =>
  piece.kind === "bytes"
    ? { kind: "bytes", bytes: piece.bytes.subarray(from, from + length) }
    : piece.kind === "zeros"
    ? { kind: "zeros", length }
    : { kind: "range", range: { file: piece.range.file, offset: piece.range.offset + from, length } }

/** The pieces cut into lists of `size` bytes each, the last one of what is left. */
export function* chunked(pieces: ReadonlyArray<Piece>, size: number): Generator<ReadonlyArray<Piece>> {
  let chunk: Array<Piece> = []
  let room = size
  for (const piece of pieces) {
    const length = pieceLength(piece)
    for (let from = 0; from < length;) {
      const taken = Math.min(room, length - from)
      chunk.push(cut(piece, from, taken))
      from += taken
      room -= taken
      if (room === 0) {
        yield chunk
        chunk = []
        room = size
      }
    }
  }
  if (chunk.length > 0) yield chunk
}
