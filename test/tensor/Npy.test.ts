import { assert, describe, it } from "@effect/vitest"
import { Result, Schema } from "effect"
import { createHash } from "node:crypto"
import { readFileSync } from "node:fs"
import { join } from "node:path"
import { decode, encodeHeader, type NpyHeader } from "../../src/tensor/Npy.ts"

const folder = join(import.meta.dirname, "../fixtures/npy")

const Index = Schema.Array(Schema.Struct({
  file: Schema.String,
  bad: Schema.optionalKey(Schema.Boolean),
  why: Schema.optionalKey(Schema.String),
  descr: Schema.optionalKey(Schema.String),
  shape: Schema.optionalKey(Schema.Array(Schema.Int)),
  fortranOrder: Schema.optionalKey(Schema.Boolean),
  version: Schema.optionalKey(Schema.Array(Schema.Int)),
  headerLength: Schema.optionalKey(Schema.Int),
  sha256LittleEndianC: Schema.optionalKey(Schema.String)
}))
const index = Schema.decodeSync(Schema.fromJsonString(Index))(readFileSync(join(folder, "index.json"), "utf8"))
const good = index.filter(({ bad }) => bad !== true)

/** The elements in C order, little endian. */
const elements = (
  bytes: Uint8Array,
  { dataOffset, descr, fortran, itemBytes, littleEndian, shape }: NpyHeader
): Uint8Array => {
  const count = shape.reduce((product, dim) => product * dim, 1)
  const out = new Uint8Array(count * itemBytes)
  const unit = descr.includes("c") ? itemBytes / 2 : itemBytes
  for (let flat = 0; flat < count; flat++) {
    let rest = flat
    let from = 0
    // last dimension first; its stride in a Fortran file is the product of all before it
    for (let axis = shape.length - 1; axis >= 0; axis--) {
      const dim = shape[axis] ?? 1
      from += (rest % dim) * shape.slice(0, axis).reduce((product, one) => product * one, 1)
      rest = Math.floor(rest / dim)
    }
    const start = dataOffset + (fortran ? from : flat) * itemBytes
    for (let byte = 0; byte < itemBytes; byte++) {
      const within = littleEndian ? byte : byte - byte % unit + unit - 1 - byte % unit
      out[flat * itemBytes + byte] = bytes[start + within] ?? 0
    }
  }
  return out
}

describe("decode", () => {
  it.each(good)("reads $file", (entry) => {
    const bytes = readFileSync(join(folder, entry.file))
    const header = Result.getOrThrow(decode(bytes))
    assert.strictEqual(header.descr, entry.descr)
    assert.deepStrictEqual(header.shape, entry.shape)
    assert.strictEqual(header.fortran, entry.fortranOrder ?? false)
    assert.strictEqual(header.littleEndian, entry.descr?.startsWith(">") !== true)
    if (entry.headerLength !== undefined) assert.strictEqual(header.dataOffset, entry.headerLength)
    assert.strictEqual(createHash("sha256").update(elements(bytes, header)).digest("hex"), entry.sha256LittleEndianC)
  })

  it.each(index.filter(({ bad }) => bad === true))("refuses $file: $why", ({ file }) => {
    const result = decode(readFileSync(join(folder, file)))
    assert.isTrue(Result.isFailure(result))
  })

  it("says what it expected and found", () => {
    assert.deepStrictEqual(
      Result.flip(decode(readFileSync(join(folder, "bad_truncated.npy")))),
      Result.succeed({ expected: "60 bytes of data (<f4 × [3, 5])", found: "55 bytes" })
    )
    assert.deepStrictEqual(
      Result.flip(decode(readFileSync(join(folder, "bad_object.npy")))),
      Result.succeed({ expected: "numbers, such as <f4 or |u1", found: "\"|O\"" })
    )
  })

  it("reads the beginning of a file when told the file's length", () => {
    const bytes = readFileSync(join(folder, "f4_3x5.npy"))
    assert.deepStrictEqual(decode(bytes.subarray(0, 128), bytes.length), decode(bytes))
  })

  it.each([
    "{'descr': '<f4', 'fortran_order': False, 'shape': (1), }",
    "{'descr': '<f4', 'fortran_order': False, 'shape': (,), }",
    "{'descr': '<f4', 'fortran_order': False, 'shape': (1 2,), }",
    "{'descr': '<f4', 'descr': '<f4', 'fortran_order': False, 'shape': (1,), }",
    "{'descr': '<f4', 'fortran_order': 'False', 'shape': (1,), }",
    "{'descr': '<f4', 'shape': (1,), }",
    "{'descr': '<f4' 'fortran_order': False, 'shape': (1,), }",
    "{'descr': '<f4', 'fortran_order': False, 'shape': (1,), } x",
    "{'descr': '<f5', 'fortran_order': False, 'shape': (1,), }"
  ])("refuses the header %s", (text) => {
    const bytes = new Uint8Array(10 + text.length + 4)
    bytes.set([0x93, 0x4e, 0x55, 0x4d, 0x50, 0x59, 1, 0, text.length, 0])
    bytes.set(new TextEncoder().encode(text), 10)
    assert.isTrue(Result.isFailure(decode(bytes)))
  })

  const sample = readFileSync(join(folder, "f4_3x5.npy"))
  it.prop(
    "never throws, whatever the bytes",
    [Schema.Uint8Array, Schema.Array(Schema.Tuple([Schema.Int, Schema.Int]))],
    ([bytes, changes]) => {
      decode(bytes)
      const changed = Uint8Array.from(sample)
      for (const [at, value] of changes) changed[Math.abs(at) % changed.length] = value & 0xff
      const result = decode(changed)
      if (Result.isSuccess(result)) {
        assert.strictEqual(
          result.success.dataOffset + result.success.dataBytes,
          changed.length
        )
      }
    },
    { arbitrary: { runs: 400 } }
  )
})

describe("encodeHeader", () => {
  const asNumpyWrites = good.filter(({ file, fortranOrder, version }) =>
    version?.[0] === 1 && fortranOrder !== true &&
    !["f4_key_order.npy", "f4_compact_16.npy", "f4_double_quotes.npy"].includes(file)
  )

  it.each(asNumpyWrites)("writes the header of $file as numpy does", ({ descr, file, shape }) => {
    const bytes = Uint8Array.from(readFileSync(join(folder, file)))
    const { dataOffset } = Result.getOrThrow(decode(bytes))
    assert.deepStrictEqual(encodeHeader(descr ?? "", shape ?? []), bytes.slice(0, dataOffset))
  })

  const Dims = Schema.Array(Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 100_000 }))).check(
    Schema.isMaxLength(3)
  )
  it.prop("is read back by decode, and aligns the data to 64 bytes", [Dims], ([shape]) => {
    const bytes = encodeHeader("<f4", shape)
    const size = shape.reduce((product, dim) => product * dim, 4)
    const header = Result.getOrThrow(decode(bytes, bytes.length + size))
    assert.deepStrictEqual(header.shape, shape)
    assert.strictEqual(header.dataOffset % 64, 0)
  })
})
