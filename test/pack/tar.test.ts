import { assert, describe, it } from "@effect/vitest"
import { Result } from "effect"
import { readFileSync } from "node:fs"
import { join } from "node:path"
import type { Entry } from "../../src/pack/Entry.ts"
import { chunked, type Piece, pieceLength, tarHeader, tarPieces } from "../../src/pack/Tar.ts"

const fixtures = join(import.meta.dirname, "../fixtures/tar/pax")
const text = (value: string) => new TextEncoder().encode(value)
const entry = (name: string, bytes: Uint8Array): Entry => ({ name, content: { kind: "bytes", bytes } })

/** The files of fixtures/tar/pax/generate.py. */
const mixed = [
  entry("a.txt", text("hello\n")),
  entry("empty.bin", new Uint8Array()),
  entry("folder/pattern.bin", Uint8Array.from({ length: 3000 }, (_, i) => (i * 7) & 255)),
  entry(`${"d".repeat(60)}/${"e".repeat(70)}.onnx`, text("prefix")),
  entry("größe.txt", text("ü")),
  entry("n".repeat(200), text("long"))
]

const bytesOf = (piece: Piece): Uint8Array =>
  piece.kind === "bytes" ? piece.bytes : piece.kind === "zeros" ? new Uint8Array(piece.length) : assert.fail("a range")

const joined = (pieces: ReadonlyArray<Piece>) => Buffer.concat(pieces.map(bytesOf))

describe("tarPieces", () => {
  it("writes the bytes that Python's tarfile writes", () => {
    const pieces = Result.getOrThrow(tarPieces(mixed))
    assert.isTrue(joined(pieces).equals(readFileSync(join(fixtures, "mixed.tar"))))
  })

  it.each(["", "/etc/passwd", "../x", "a/../b", "a//b", "./a", "a\\b", "a\0b"])("refuses the name %j", (name) => {
    const error = Result.flip(tarPieces([entry(name, new Uint8Array())])).pipe(Result.getOrThrow)
    assert.strictEqual(error.name, name)
  })

  it("refuses a name that is there twice", () => {
    const twice = tarPieces([entry("a", new Uint8Array()), entry("a", new Uint8Array())])
    assert.match(Result.getOrThrow(Result.flip(twice)).found, /twice/)
  })
})

describe("tarHeader", () => {
  it("writes a size of 8 GiB or more as a pax record, as Python's tarfile does", () => {
    assert.isTrue(
      Buffer.concat(tarHeader("weights.bin", 9 * 2 ** 30)).equals(readFileSync(join(fixtures, "big-header.bin")))
    )
    assert.strictEqual(tarHeader("weights.bin", 8 * 2 ** 30 - 1).length, 1)
    assert.strictEqual(tarHeader("weights.bin", 8 * 2 ** 30).length, 3)
  })
})

describe("chunked", () => {
  const pieces = [...Result.getOrThrow(tarPieces(mixed))]

  it.each([1, 7, 512, 1000, 1 << 20])("cuts the same bytes into chunks of %d", (size) => {
    const chunks = [...chunked(pieces, size)]
    assert.isTrue(joined(chunks.flat()).equals(joined(pieces)))
    const sizes = chunks.map((chunk) => chunk.reduce((sum, piece) => sum + pieceLength(piece), 0))
    assert.isTrue(sizes.slice(0, -1).every((length) => length === size))
  })

  it("cuts ranges of a file by their offsets", () => {
    const range: Piece = { kind: "range", range: { file: "w.bin", offset: 100, length: 25 } }
    assert.deepStrictEqual(
      [...chunked([range], 10)].flat().map((piece) => piece.kind === "range" ? piece.range : undefined),
      [
        { file: "w.bin", offset: 100, length: 10 },
        { file: "w.bin", offset: 110, length: 10 },
        { file: "w.bin", offset: 120, length: 5 }
      ]
    )
  })
})
