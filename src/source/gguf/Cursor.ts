import { HeaderInvalid } from "../FileReason.ts"
import type { SourceError } from "../SourceError.ts"

/** A reason as the reader of a header meets it. */
export type Problem = SourceError["reason"]

/** The numbers of GGUF by their type id: bytes of one, and how to read it. */
const numbers: Readonly<Record<number, { readonly bytes: number; readonly read: Read }>> = {
  0: { bytes: 1, read: (view, at) => view.getUint8(at) },
  1: { bytes: 1, read: (view, at) => view.getInt8(at) },
  2: { bytes: 2, read: (view, at) => view.getUint16(at, true) },
  3: { bytes: 2, read: (view, at) => view.getInt16(at, true) },
  4: { bytes: 4, read: (view, at) => view.getUint32(at, true) },
  5: { bytes: 4, read: (view, at) => view.getInt32(at, true) },
  6: { bytes: 4, read: (view, at) => view.getFloat32(at, true) },
  10: { bytes: 8, read: (view, at) => view.getBigUint64(at, true) },
  11: { bytes: 8, read: (view, at) => view.getBigInt64(at, true) },
  12: { bytes: 8, read: (view, at) => view.getFloat64(at, true) }
}

type Read = (view: DataView, at: number) => number | bigint

/** Bytes of one number of a type; undefined where the type is none. */
export const numberBytes = (type: number): number | undefined => numbers[type]?.bytes

/** Reads numbers of a type at places that are known to lie within `bytes`; undefined where the type is no number's. */
export const numberReader = (bytes: Uint8Array, type: number): ((at: number) => number | bigint) | undefined => {
  const kind = numbers[type]
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length)
  return kind === undefined ? undefined : (at) => kind.read(view, at)
}

const utf8 = new TextDecoder("utf-8", { fatal: false, ignoreBOM: true })
const REPLACEMENT = "\u{FFFD}"

const wellFormed = (bytes: Uint8Array, text: string): boolean => {
  const again = new TextEncoder().encode(text)
  return again.length === bytes.length && again.every((byte, index) => byte === bytes[index])
}

/** UTF-8 bytes as text; undefined where they are none. */
export const textAt = (bytes: Uint8Array, start: number, end: number): string | undefined => {
  const part = bytes.subarray(start, end)
  const text = utf8.decode(part)
  // the replacement character stands for bytes that are no UTF-8, unless it was written
  return text.includes(REPLACEMENT) && !wellFormed(part, text) ? undefined : text
}

/** Texts are decoded together, since one decoding for each takes ten times as long; and not all at once, since that takes memory. */
const CHUNK_BYTES = 2 ** 16

/** Decodes texts that lie between `ends` (each behind eight bytes of length) of `bytes`, through `joined`, which holds them all. */
const decodeChunk = (bytes: Uint8Array, ends: ReadonlyArray<number>, joined: Uint8Array) => {
  const units: Array<number> = []
  let length = 0
  let unit = 0
  for (let index = 1; index < ends.length; index++) {
    const end = ends[index] ?? 0
    for (let from = (ends[index - 1] ?? 0) + 8; from < end; from++) {
      const byte = bytes[from] ?? 0
      joined[length++] = byte
      // UTF-16 units: none for a byte that continues a character, two for the first of four
      unit += (byte & 0xc0) === 0x80 ? 0 : byte >= 0xf0 ? 2 : 1
    }
    units.push(unit)
  }
  const text = utf8.decode(joined.subarray(0, length))
  return text.includes(REPLACEMENT)
    ? units.map((_, index) => textAt(bytes, (ends[index] ?? 0) + 8, ends[index + 1] ?? 0))
    : units.map((end, index) => text.slice(units[index - 1] ?? 0, end))
}

/** `count` texts, each behind its length (u64), from `start`, all of which is known to lie within `bytes`; undefined for one that is no UTF-8. */
export function* textsFrom(bytes: Uint8Array, start: number, count: number): Generator<string | undefined> {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length)
  const joined = new Uint8Array(CHUNK_BYTES)
  let at = start
  for (let done = 0; done < count;) {
    const ends = [at]
    let length = 0
    while (done < count) {
      const size = view.getUint32(at, true)
      if (length + size > CHUNK_BYTES || ends.length > CHUNK_BYTES / 16) break
      length += size
      at += 8 + size
      ends.push(at)
      done++
    }
    if (ends.length > 1) yield* decodeChunk(bytes, ends, joined)
    else {
      const begin = at + 8
      at = begin + view.getUint32(at, true)
      done++
      yield textAt(bytes, begin, at)
    }
  }
}

/**
 * A little-endian cursor over the first bytes of a file. No length is believed before it was held against the file's size;
 * `problem` is set at the first failure, `need` where bytes are wanted that are in the file but were not read, and every read
 * then gives undefined.
 */
export class Cursor {
  at = 0
  problem: Problem | undefined = undefined
  /** bytes of the file that have to be read to go on; 0: enough are */
  need = 0
  /** what is being read, for errors: a key, a tensor */
  where: string | undefined = undefined
  readonly bytes: Uint8Array
  readonly fileBytes: number
  readonly #view: DataView

  constructor(bytes: Uint8Array, fileBytes: number) {
    this.bytes = bytes
    this.fileBytes = fileBytes
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length)
  }

  /** Whether reading stopped. */
  get stopped(): boolean {
    return this.problem !== undefined || this.need > 0
  }

  fail(expected: string, found: string): undefined {
    return this.failWith(new HeaderInvalid({ tensor: this.where, expected, found }))
  }

  failWith(problem: Problem): undefined {
    if (!this.stopped) this.problem = problem
    return undefined
  }

  /** Moves past `count` bytes, `what` in errors; the place where they begin. */
  skip(count: number, what: string): number | undefined {
    if (this.stopped) return undefined
    const left = this.fileBytes - this.at
    if (count > left) {
      return this.fail(`${what} (${count} bytes at byte offset ${this.at})`, `the end of file after ${left} bytes`)
    }
    if (this.at + count > this.bytes.length) {
      this.need = this.at + count
      return undefined
    }
    const start = this.at
    this.at += count
    return start
  }

  number(type: number, what: string): number | bigint | undefined {
    const kind = numbers[type]
    const start = kind === undefined ? undefined : this.skip(kind.bytes, what)
    return start === undefined ? undefined : kind?.read(this.#view, start)
  }

  u32(what: string): number | undefined {
    const start = this.skip(4, what)
    return start === undefined ? undefined : this.#view.getUint32(start, true)
  }

  u64(what: string): bigint | undefined {
    const start = this.skip(8, what)
    return start === undefined ? undefined : this.#view.getBigUint64(start, true)
  }

  /** A count of things that take at least `each` bytes, so that the rest of the file can hold them; at most `most`. */
  count(section: string, what: string, each: number, most: number): number | undefined {
    const value = this.u64(what)
    if (value === undefined) return undefined
    const room = Math.floor((this.fileBytes - this.at) / each)
    return value > BigInt(room)
      ? this.fail(
        `${section} with a ${what} of at most ${room}, as the end of file is at byte offset ${this.fileBytes}`,
        `${what} ${value}`
      )
      : value > BigInt(most)
      ? this.fail(`${section} with a ${what} of at most ${most}`, `${what} ${value}`)
      : Number(value)
  }

  /** The bytes of a text: u64 length, then UTF-8. */
  range(what: string, most: number): readonly [start: number, end: number] | undefined {
    const length = this.u64(`the length of ${what}`)
    if (length === undefined) return undefined
    const left = this.fileBytes - this.at
    if (length > BigInt(left)) {
      return this.fail(
        `${what} to end within the file, which has ${left} bytes more`,
        `a length of ${length} bytes, past the end of the file`
      )
    }
    if (length > BigInt(most)) return this.fail(`a length of ${what} of at most ${most} bytes`, `${length} bytes`)
    const start = this.skip(Number(length), what)
    return start === undefined ? undefined : [start, this.at]
  }

  /** Moves past `count` texts. */
  texts(count: number): void {
    if (this.stopped) return
    let index = 0
    // a vocabulary has 500,000: without numbers of 64 bits and texts for errors while all is well
    for (let at = this.at; index < count && at + 8 <= this.bytes.length; index++) {
      const end = at + 8 + this.#view.getUint32(at, true)
      if (this.#view.getUint32(at + 4, true) !== 0 || end > this.bytes.length) break
      this.at = at = end
    }
    for (; index < count && !this.stopped; index++) this.range(`item ${index}`, this.fileBytes)
  }

  /** A text of at most `most` bytes. */
  text(what: string, most: number): string | undefined {
    const range = this.range(what, most)
    if (range === undefined) return undefined
    return textAt(this.bytes, range[0], range[1]) ?? this.fail(`${what} to be UTF-8 text`, "other bytes")
  }
}
