/** One field of a message; `wire` says which of the values holds. */
export type Field =
  | { readonly wire: "varint"; readonly value: bigint }
  | { readonly wire: "fixed32" | "fixed64" | "bytes"; readonly value: Uint8Array }

/** Fields of a message by number; numbers that are not here are skipped. */
export type Fields = Readonly<Record<number, (field: Field, where: string) => void>>

/** Fields and packed whole numbers in all of a file; a 70B model linked in one graph has some 50,000. Keeps hostile files from filling memory with tiny values. */
const fieldLimit = 1 << 20

const decoder = new TextDecoder("utf-8", { ignoreBOM: true })
const encoder = new TextEncoder()

/**
 * Reads protobuf fields. The first thing that is wrong is kept in `problem` and stops all reading; nothing throws, and nothing
 * is allocated for a length before that length is known to lie inside the bytes. Groups are refused, so depth is the depth of our tables.
 */
export class WireReader {
  problem: { readonly where: string; readonly expected: string; readonly found: string } | undefined
  #fields = 0

  fail(where: string, expected: string, found: string): void {
    this.problem ??= { where, expected, found }
  }

  /** Calls the table's entry for each field of a message, in the order of the bytes. */
  message(bytes: Uint8Array, where: string, table: Fields): void {
    let at = 0
    const varint = (): bigint => {
      let low = 0
      let high = 0
      for (let index = 0; index < 10; index++) {
        const byte = bytes[at]
        if (byte === undefined) break
        at++
        // 5 groups of 7 bits below 2^35, 5 above.
        if (index < 5) low += (byte & 0x7f) * 2 ** (7 * index)
        else high += (byte & 0x7f) * 2 ** (7 * (index - 5))
        if (byte < 0x80) return BigInt.asUintN(64, high === 0 ? BigInt(low) : (BigInt(high) << 35n) + BigInt(low))
      }
      this.fail(where, "a number of at most 10 bytes", `none at byte ${at} of ${bytes.length}`)
      return 0n
    }
    const take = (length: number): Uint8Array => {
      if (length > bytes.length - at) {
        this.fail(where, `${length} bytes at ${at}`, `${bytes.length - at}`)
        return new Uint8Array()
      }
      at += length
      return bytes.subarray(at - length, at)
    }
    while (at < bytes.length && this.problem === undefined) {
      this.#count(where)
      const key = Number(varint())
      const [number, wire] = [Math.floor(key / 8), key % 8]
      if (this.problem === undefined && (number === 0 || number > 2 ** 29 - 1)) {
        return this.fail(where, "a field number", `${number} before byte ${at}`)
      }
      const field: Field | undefined = wire === 0
        ? { wire: "varint", value: varint() }
        : wire === 1
        ? { wire: "fixed64", value: take(8) }
        : wire === 2
        ? { wire: "bytes", value: take(Number(varint())) }
        : wire === 5
        ? { wire: "fixed32", value: take(4) }
        : undefined
      if (field === undefined) return this.fail(where, "wire type 0, 1, 2 or 5", `${wire} before byte ${at}`)
      if (this.problem !== undefined) return
      const read = Object.hasOwn(table, number) ? table[number] : undefined
      read?.(field, where)
    }
  }

  #count(where: string): void {
    if (++this.#fields > fieldLimit) this.fail(where, `at most ${fieldLimit} fields and numbers`, "more")
  }

  bytes(field: Field, where: string): Uint8Array {
    if (field.wire === "bytes") return field.value
    this.fail(where, "bytes", field.wire)
    return new Uint8Array()
  }

  string(field: Field, where: string): string {
    const bytes = this.bytes(field, where)
    const text = decoder.decode(bytes)
    // U+FFFD may be in the text itself: only then is the length worth comparing.
    if (text.includes("\uFFFD") && !equal(encoder.encode(text), bytes)) {
      this.fail(where, "UTF-8 text", `bytes that read "${text.slice(0, 40)}"`)
    }
    return text
  }

  /** A signed 64-bit whole number. */
  bigint(field: Field, where: string): bigint {
    if (field.wire === "varint") return BigInt.asIntN(64, field.value)
    this.fail(where, "a whole number", field.wire)
    return 0n
  }

  /** A whole number between -(2^53 - 1) and 2^53 - 1. */
  int(field: Field, where: string): number {
    const value = this.bigint(field, where)
    const number = Number(value)
    if (!Number.isSafeInteger(number)) this.fail(where, "a whole number below 2^53", `${value}`)
    return number
  }

  float(field: Field, where: string): number {
    if (field.wire === "fixed32") return viewOf(field.value).getFloat32(0, true)
    this.fail(where, "a 32-bit float", field.wire)
    return 0
  }

  /** The whole numbers of a repeated field, packed in one or alone. */
  bigints(field: Field, where: string): ReadonlyArray<bigint> {
    if (field.wire === "varint") return [BigInt.asIntN(64, field.value)]
    const bytes = this.bytes(field, where)
    const values: Array<bigint> = []
    let [value, shift] = [0n, 0n]
    for (const byte of bytes) {
      value |= BigInt(byte & 0x7f) << shift
      shift += 7n
      if (byte < 0x80) {
        this.#count(where)
        values.push(BigInt.asIntN(64, value))
        value = 0n
        shift = 0n
      } else if (shift === 70n || this.problem !== undefined) break
    }
    if (shift !== 0n) {
      this.fail(where, "packed numbers of at most 10 bytes each", `${bytes.length} bytes that end inside one`)
    }
    return values
  }

  /** The little-endian bytes of a repeated field of fixed size (4 or 8), packed in one or alone. */
  fixed(field: Field, where: string, size: 4 | 8): Uint8Array {
    const wanted = size === 4 ? "fixed32" : "fixed64"
    if (field.wire === wanted) return field.value
    const bytes = this.bytes(field, where)
    if (bytes.length % size !== 0) this.fail(where, `a multiple of ${size} bytes`, `${bytes.length}`)
    return bytes
  }
}

/** A view of exactly these bytes. */
export const viewOf = (bytes: Uint8Array): DataView => new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)

const equal = (a: Uint8Array, b: Uint8Array): boolean => a.length === b.length && a.every((byte, at) => byte === b[at])
