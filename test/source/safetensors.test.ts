import * as NodeServices from "@effect/platform-node/NodeServices"
import { assert, describe, it, layer } from "@effect/vitest"
import { Effect, Result, Schema } from "effect"
import { createHash } from "node:crypto"
import { readFileSync } from "node:fs"
import { join } from "node:path"
import { formats, headerLength, parseHeader, readSafetensors } from "../../src/source/safetensors.ts"
import { SourceError } from "../../src/source/SourceError.ts"

const folder = join(import.meta.dirname, "../fixtures/safetensors")

const Tensors = Schema.Record(
  Schema.String,
  Schema.Struct({
    dtype: Schema.String,
    shape: Schema.Array(Schema.Int),
    offsets: Schema.Tuple([Schema.Int, Schema.Int]),
    sha256: Schema.String
  })
)
const Index = Schema.Array(Schema.Struct({
  file: Schema.String,
  bad: Schema.optionalKey(Schema.Boolean),
  why: Schema.optionalKey(Schema.String),
  headerLength: Schema.optionalKey(Schema.Int),
  metadata: Schema.optionalKey(Schema.Record(Schema.String, Schema.String)),
  tensors: Schema.optionalKey(Tensors)
}))
const index = Schema.decodeSync(Schema.fromJsonString(Index))(readFileSync(join(folder, "index.json"), "utf8"))

/** Both pure steps over the bytes of a whole file. */
const parseFile = (bytes: Uint8Array) =>
  Result.flatMap(
    headerLength(bytes.subarray(0, 8), bytes.length),
    (length) => parseHeader(bytes.subarray(8, 8 + length), bytes.length)
  )

const withHeader = (header: string, dataBytes: number): Uint8Array => {
  const text = new TextEncoder().encode(header)
  const bytes = new Uint8Array(8 + text.length + dataBytes)
  new DataView(bytes.buffer).setBigUint64(0, BigInt(text.length), true)
  bytes.set(text, 8)
  return bytes
}

const reasonOf = (bytes: Uint8Array) => {
  const result = parseFile(bytes)
  assert.isTrue(Result.isFailure(result), "it was taken")
  return Result.isFailure(result) ? result.failure : undefined
}

layer(NodeServices.layer)("readSafetensors", (it) => {
  it.effect.each(index.filter(({ bad, tensors }) => bad !== true && tensors !== undefined))(
    "reads $file",
    (entry) =>
      Effect.gen(function*() {
        const path = join(folder, entry.file)
        const read = yield* readSafetensors(path)
        const bytes = readFileSync(path)
        assert.deepStrictEqual({ ...read.metadata }, { ...entry.metadata })
        assert.strictEqual(read.file.bytes, bytes.length)
        assert.strictEqual(read.tensors.size + read.unheld.size, Object.keys(entry.tensors ?? {}).length)
        for (const [name, want] of Object.entries(entry.tensors ?? {})) {
          const tensor = read.tensors.get(name)
          const other = read.unheld.get(name)
          assert.deepStrictEqual(tensor?.shape ?? other?.shape, want.shape)
          if (tensor === undefined) {
            assert.strictEqual(other?.format, want.dtype)
            continue
          }
          assert.strictEqual(tensor.dtype, Object.entries(formats).find(([format]) => format === want.dtype)?.[1].dtype)
          const { file, length, offset } = tensor.range
          assert.strictEqual(file, path)
          assert.strictEqual(offset, 8 + (entry.headerLength ?? 0) + want.offsets[0])
          const hash = createHash("sha256").update(bytes.subarray(offset, offset + length)).digest("hex")
          assert.strictEqual(hash, want.sha256)
        }
      })
  )

  it.effect.each(index.filter(({ bad, tensors }) => bad !== true && tensors === undefined))(
    "takes $file",
    (entry) => readSafetensors(join(folder, entry.file))
  )

  it.effect.each(index.filter(({ bad }) => bad === true))("refuses $file: $why", (entry) =>
    Effect.gen(function*() {
      const error = yield* Effect.flip(readSafetensors(join(folder, entry.file)))
      assert.instanceOf(error, SourceError)
      assert.include(error.message, entry.file)
      assert.notStrictEqual(error.reason._tag, "NotFound")
    }))
})

const one = (fields: string) => `{"a":{${fields}}}`

describe("parseHeader", () => {
  it.each([
    ["Overlap", "bad_overlap"],
    ["Truncated", "bad_beyond_data"],
    ["JsonInvalid", "bad_duplicate_key"],
    ["JsonInvalid", "bad_not_utf8"],
    ["DTypeUnsupported", "bad_unknown_dtype"],
    ["HeaderInvalid", "bad_hole"],
    ["HeaderInvalid", "bad_trailing"]
  ])("gives %s for %s", (tag, file) => {
    assert.strictEqual(reasonOf(readFileSync(join(folder, `${file}.safetensors`)))?._tag, tag)
  })

  it("says what a tensor should have and has", () => {
    const reason = reasonOf(readFileSync(join(folder, "bad_size_mismatch.safetensors")))
    assert.strictEqual(
      reason?.message,
      "the header is invalid at a: expected 12 bytes (F32 × [3]), found 8 bytes (data_offsets [0, 8]); download the file again"
    )
  })

  it("says that numbers below a byte have to fill one", () => {
    assert.include(
      reasonOf(readFileSync(join(folder, "bad_f4_odd.safetensors")))?.message,
      "expected a whole number of bytes"
    )
  })

  it("tells a truncated file by how much is there", () => {
    const whole = readFileSync(join(folder, "shapes.safetensors"))
    assert.deepInclude(reasonOf(whole.subarray(0, whole.length - 7)), {
      _tag: "Truncated",
      tensor: "name with space/slash.ä",
      expected: 4,
      found: 2,
      fileExpected: 481,
      fileFound: 474
    })
  })

  it("names the text that a saved error page begins with", () => {
    assert.include(reasonOf(new TextEncoder().encode("<!DOCTYPE html><html>"))?.message, "\"<!DOCTYP\"")
  })

  it.each([
    ["no fields", one(""), 4],
    ["no shape", one("\"dtype\":\"U8\",\"data_offsets\":[0,4]"), 4],
    ["three offsets", one("\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":[0,4,4]"), 4],
    ["a fractional shape", one("\"dtype\":\"U8\",\"shape\":[4.0],\"data_offsets\":[0,4]"), 4],
    ["a dtype from the prototype", one("\"dtype\":\"constructor\",\"shape\":[4],\"data_offsets\":[0,4]"), 4],
    ["a number as tensor", "{\"a\":1}", 0],
    ["space before the header", ` ${one("\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":[0,4]")}`, 4],
    ["text after the header", `${one("\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":[0,4]")}x`, 4],
    ["data without tensors", "{}", 4]
  ])("refuses %s", (_, header, dataBytes) => {
    assert.notStrictEqual(reasonOf(withHeader(header, dataBytes)), undefined)
  })

  const good = readFileSync(join(folder, "all_dtypes.safetensors"))
  const Change = Schema.Tuple([Schema.Int, Schema.Int])

  it.prop(
    "never throws on changed files, and what it takes covers the file",
    [Schema.Array(Change), Schema.Int],
    ([changes, cut]) => {
      const bytes = Uint8Array.from(good.subarray(0, good.length - (cut % 3 === 0 ? Math.abs(cut) % good.length : 0)))
      for (const [at, value] of changes) bytes[Math.abs(at) % bytes.length] = value & 0xff
      const result = parseFile(bytes)
      if (Result.isFailure(result)) {
        assert.isAbove(result.failure.message.length, 20)
        return
      }
      const end = result.success.entries.reduce((sum, entry) => sum + entry.end - entry.begin, 0)
      assert.strictEqual(bytes.length - end, 8 + Number(new DataView(bytes.buffer).getBigUint64(0, true)))
    },
    { arbitrary: { runs: 400 } }
  )

  it.prop(
    "never throws on changed characters of the header",
    [Schema.Int, Schema.String, Schema.Int],
    ([at, text, drop]) => {
      const header = new TextDecoder().decode(good.subarray(8, 8 + 1376)).trimEnd()
      const place = Math.abs(at) % header.length
      const changed = header.slice(0, place) + text + header.slice(place + Math.abs(drop) % 8)
      const result = parseFile(withHeader(changed, 1464))
      if (Result.isFailure(result)) assert.isAbove(result.failure.message.length, 20)
    },
    { arbitrary: { runs: 400 } }
  )

  it.prop("never throws on arbitrary bytes", [Schema.Uint8Array], ([bytes]) => {
    const result = parseFile(bytes)
    if (Result.isFailure(result)) assert.isAbove(result.failure.message.length, 20)
    const json = parseHeader(bytes, bytes.length + 8)
    if (Result.isSuccess(json)) assert.strictEqual(bytes[0], 0x7b)
  })
})
