const encoder = new TextEncoder()

/** Appends protobuf fields to one growing buffer. Source: protobuf.dev, "Encoding". */
export class WireWriter {
  #buffer = new Uint8Array(4096)
  #length = 0

  /** A whole number as int64 or enum (two's complement, ten bytes when negative). */
  int(field: number, value: number): void {
    this.#tag(field, 0)
    this.#varint(value)
  }

  /** Whole numbers, one field each: proto2 repeats int64 unpacked. */
  ints(field: number, values: ReadonlyArray<number>): void {
    for (const value of values) this.int(field, value)
  }

  float(field: number, value: number): void {
    this.#tag(field, 5)
    this.#reserve(4)
    new DataView(this.#buffer.buffer).setFloat32(this.#length, value, true)
    this.#length += 4
  }

  bytes(field: number, value: Uint8Array): void {
    this.#tag(field, 2)
    this.#varint(value.length)
    this.#reserve(value.length)
    this.#buffer.set(value, this.#length)
    this.#length += value.length
  }

  string(field: number, value: string): void {
    this.bytes(field, encoder.encode(value))
  }

  /** A message in a message: written in place after one byte for its length, moved up when the length needs more. */
  message(field: number, write: (writer: WireWriter) => void): void {
    this.#tag(field, 2)
    this.#reserve(1)
    const start = ++this.#length
    write(this)
    const size = this.#length - start
    let more = 0
    for (let rest = size; rest > 0x7f; rest = Math.floor(rest / 0x80)) more++
    if (more > 0) {
      this.#reserve(more)
      this.#buffer.copyWithin(start + more, start, this.#length)
    }
    this.#length = start - 1
    this.#varint(size)
    this.#length += size
  }

  /** The bytes written so far, in memory of their own. */
  finish(): Uint8Array {
    return this.#buffer.slice(0, this.#length)
  }

  #tag(field: number, wire: number): void {
    this.#varint(field * 8 + wire)
  }

  #varint(value: number): void {
    this.#reserve(10)
    if (value < 0) {
      let rest = BigInt.asUintN(64, BigInt(value))
      for (; rest > 0x7fn; rest >>= 7n) this.#buffer[this.#length++] = Number(rest & 0x7fn) | 0x80
      this.#buffer[this.#length++] = Number(rest)
      return
    }
    let rest = value
    for (; rest > 0x7f; rest = Math.floor(rest / 0x80)) this.#buffer[this.#length++] = (rest % 0x80) | 0x80
    this.#buffer[this.#length++] = rest
  }

  #reserve(bytes: number): void {
    if (this.#length + bytes <= this.#buffer.length) return
    const grown = new Uint8Array(Math.max(this.#buffer.length * 2, this.#length + bytes))
    grown.set(this.#buffer.subarray(0, this.#length))
    this.#buffer = grown
  }
}
