import { assert, describe, it, layer } from "@effect/vitest"
import { Effect, Exit, Fiber, Result, Schema } from "effect"
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import type { Block } from "../../src/quantize/format/gguf/Block.ts"
import { blocks } from "../../src/quantize/format/gguf/registry.ts"
import { formatOf, formats } from "../../src/quantize/format/registry.ts"
import { Instance, recodedBlocks } from "../../src/quantize/kernel/Instance.ts"
import { kernelDTypes } from "../../src/quantize/kernel/Task.ts"
import { Kernels } from "../../src/quantize/Kernels.ts"
import { guard, type WeightFacts } from "../../src/quantize/WeightFacts.ts"
import { byteLength } from "../../src/tensor/DType.ts"
import { decodeFloats, encodeFloats } from "../../src/tensor/Float.ts"
import type { Tensor } from "../../src/tensor/Tensor.ts"
import { generator } from "./Reference.ts"
import { bitsOf, firstDifference, fromCodes, placesOf, readNpy, sized, storedBlocks } from "./Stored.ts"

const fixtures = join(import.meta.dirname, "../fixtures/quantise")
const readIndex = <A>(schema: Schema.Codec<A>, path: string) =>
  Schema.decodeSync(Schema.fromJsonString(schema))(readFileSync(join(fixtures, path), "utf8"))

const types = readIndex(
  Schema.Array(Schema.Struct({ name: Schema.String, numbers: Schema.Int, bytes: Schema.Int })),
  "gguf/index.json"
)
const tensors = readIndex(
  Schema.Array(Schema.Struct({
    name: Schema.String,
    format: Schema.String,
    shape: Schema.Array(Schema.Int),
    interleavedHeads: Schema.Int,
    addend: Schema.Int
  })),
  "stored/index.json"
)

const folder = Effect.acquireRelease(
  Effect.sync(() => mkdtempSync(join(tmpdir(), "llima-stored-"))),
  (path) => Effect.sync(() => rmSync(path, { recursive: true }))
)

const countOf = (shape: ReadonlyArray<number>): number => shape.reduce((a, b) => a * b, 1)

const found = (index: number) => index < 0 ? undefined : index

/** What the facts of these numbers are. */
const factsOf = (values: Float32Array) => {
  return {
    numbers: values.length,
    firstNaN: found(values.findIndex((value) => value !== value)),
    firstInfinity: found(values.findIndex((value) => Math.abs(value) === Infinity)),
    largest: values.reduce((a, b) => Math.abs(b) < Infinity ? Math.max(a, Math.abs(b)) : a, 0)
  }
}

/** Squares of numbers and of the errors of what they became. */
const sums = (values: Float32Array, others: Float32Array) => ({
  squares: values.reduce((sum, value) => sum + value * value, 0),
  squaredErrors: values.reduce((sum, value, i) => sum + (value - (others[i] ?? 0)) ** 2, 0)
})

const near = (facts: WeightFacts, values: Float32Array, others: Float32Array) => {
  const expected = sums(values, others)
  for (const key of ["squares", "squaredErrors"] as const) {
    assert.closeTo(facts[key], expected[key], 1e-12 * expected[key], key)
  }
}

const recoded = Effect.fnUntraced(function*(source: Tensor, path: string) {
  const kernels = yield* Kernels
  const form = formatOf(source).form(source)
  assert.isDefined(form)
  if (form === undefined) return yield* Effect.die("no form")
  const [rows = 0, columns = 0] = source.shape
  const { bytes, places } = placesOf(form, rows, columns)
  const file = sized(join(path, "codes.bin"), bytes)
  const facts = yield* kernels.recode({ source, form, to: { file, ...places } })
  const made = readFileSync(file)
  return { facts, form, made, values: fromCodes(form, rows, columns, made) }
})

const converted = Effect.fnUntraced(function*(source: Tensor, dtype: "bf16" | "f16" | "f32", path: string) {
  const kernels = yield* Kernels
  const bytes = byteLength(dtype, countOf(source.shape))
  const file = sized(join(path, "numbers.bin"), 64 + bytes)
  const facts = yield* kernels.convert({ source, dtype, to: { file, offset: 64 } })
  return { facts, values: decodeFloats(dtype, readFileSync(file).subarray(64)) }
})

/** Random blocks of a type, `rows` rows of `inRow` blocks. */
const randomBlocks = ({ bytes }: Block, rows: number, inRow: number, seed: number): Uint8Array => {
  const next = generator(seed)
  return Uint8Array.from({ length: rows * inRow * bytes }, () => Math.floor(next() * 256))
}

layer(Kernels.layer(2), { excludeTestServices: true })("formats", (it) => {
  describe.each(types)("gguf/$name", ({ bytes, name, numbers }) => {
    const expected = readNpy(join(fixtures, `gguf/${name}.npy`))
    const raw = Uint8Array.from(readFileSync(join(fixtures, `gguf/${name}.bin`)))
    const shape = [expected.length / 256, 256]
    const stored = (path: string) => storedBlocks(path, `gguf/${name}`, shape, raw)
    const block = blocks.find((one) => one.name === name)
    const hasForm = block?.codes !== undefined

    it("has the reference's numbers, bit for bit", () => {
      assert.deepInclude(block, { numbers, bytes })
      const source = storedBlocks(tmpdir(), `gguf/${name}`, shape, raw)
      assert.strictEqual(firstDifference(formatOf(source).values(source, { blocks: raw }), expected), -1)
      assert.deepStrictEqual(formatOf(source).sizes(source), { blocks: raw.length })
    })

    it.effect("becomes f32 with the reference's bits", () =>
      Effect.gen(function*() {
        const { facts, values } = yield* converted(stored(yield* folder), "f32", yield* folder)
        assert.strictEqual(firstDifference(values, expected), -1)
        assert.deepInclude(facts, factsOf(expected))
      }))

    it.effect.skipIf(!hasForm)("becomes codes that stand for the reference's bits", () =>
      Effect.gen(function*() {
        const { facts, form, made, values } = yield* recoded(stored(yield* folder), yield* folder)
        assert.strictEqual(firstDifference(values, expected), -1)
        assert.deepInclude(facts, factsOf(expected))
        // nothing is written between the pieces
        const { lengths, places } = placesOf(form, shape[0] ?? 0, 256)
        for (const key of ["codes", "scales", "minimum", "zeros"] as const) {
          made.fill(0, places[key], places[key] + lengths[key])
        }
        assert.isTrue(made.every((byte) => byte === 0))
      }))

    it.effect("becomes numbers from random blocks, and finds what is not finite", () =>
      Effect.gen(function*() {
        if (block === undefined) return yield* Effect.die("unknown type")
        for (const [rows, inRow] of [[1, 1], [5, 3], [67, 2]] as const) {
          const bytes = randomBlocks(block, rows, inRow, rows + name.length)
          const path = yield* folder
          const source = storedBlocks(path, `gguf/${name}`, [rows, inRow * numbers], bytes)
          const values = formatOf(source).values(source, { blocks: bytes })
          const plain = yield* converted(source, "f32", path)
          assert.strictEqual(firstDifference(plain.values, values), -1)
          assert.deepInclude(plain.facts, factsOf(values))
          assert.deepInclude(yield* (yield* Kernels).scan(source), factsOf(values))
          if (!hasForm) continue
          const codes = yield* recoded(source, path)
          assert.strictEqual(firstDifference(codes.values, values), -1)
          assert.deepInclude(codes.facts, factsOf(values))
        }
      }))
  })

  it.effect.each(tensors)(
    "$name is the model's tensor",
    ({ addend, format, interleavedHeads, name, shape }) =>
      Effect.gen(function*() {
        const path = yield* folder
        const expected = readNpy(join(fixtures, `stored/${name}.npy`))
        const bytes = readFileSync(join(fixtures, `stored/${name}.bin`))
        const source = storedBlocks(path, format, shape, bytes, { interleavedHeads, addend })
        assert.strictEqual(firstDifference(formatOf(source).values(source, { blocks: bytes }), expected), -1)
        const { facts, values } = yield* converted(source, "f32", path)
        assert.strictEqual(firstDifference(values, expected), -1)
        assert.deepInclude(facts, factsOf(expected))
        if (formatOf(source).form(source) === undefined) return
        assert.strictEqual(firstDifference((yield* recoded(source, path)).values, expected), -1)
      })
  )

  const rows = 40, columns = 512
  const next = generator(11)
  const random = Float32Array.from({ length: rows * columns }, () => (next() + next() + next() - 1.5) / 20)
  // Q8_0 by hand: a scale of 2^-9 each, codes of both signs
  const q8 = Uint8Array.from(
    { length: rows * columns / 32 * 34 },
    (_, i) => i % 34 === 0 ? 0x00 : i % 34 === 1 ? 0x18 : Math.floor((random[i] ?? 0) * 800) & 0xff
  )

  it.effect.each(["bf16", "f16"] as const)(
    "converts to %s, rounding once, and says what it lost",
    (dtype) =>
      Effect.gen(function*() {
        const path = yield* folder
        const ugly = random.map((value, i) => value * 2 ** -(i % 40))
        const source = storedBlocks(path, "gguf/F32", [rows, columns], encodeFloats("f32", ugly), { addend: 0.125 })
        const stored = ugly.map((value) => value + 0.125)
        const expected = decodeFloats(dtype, encodeFloats(dtype, stored))
        const { facts, values } = yield* converted(source, dtype, path)
        assert.strictEqual(firstDifference(values, expected), -1)
        near(facts, stored, expected)
        assert.isAbove(facts.squaredErrors, 0)
      })
  )

  it.effect("converts every f16 and bf16, and numbers between them", () =>
    Effect.gen(function*() {
      const path = yield* folder
      const patterns = new Uint8Array(Uint16Array.from({ length: 65536 }, (_, i) => i).buffer)
      for (const dtype of ["f16", "bf16"] as const) {
        const source = storedBlocks(path, `gguf/${dtype.toUpperCase()}`, [256, 256], patterns)
        const wide = yield* converted(source, "f32", path)
        assert.strictEqual(firstDifference(wide.values, decodeFloats(dtype, patterns)), -1)
        const back = yield* converted(source, dtype, path)
        assert.strictEqual(firstDifference(back.values, decodeFloats(dtype, patterns)), -1)
        // the neighbours of each, and what lies in the middle between two of them
        const finite = wide.values.map((value) => Math.abs(value) < Infinity ? value : 1)
        const words = bitsOf(finite)
        const step = dtype === "f16" ? 1 << 12 : 1 << 15
        for (const offset of [1, step - 1, step, step + 1, 3 * step]) {
          const moved = new Float32Array(words.map((word) => word + offset).buffer)
          const ties = storedBlocks(path, "gguf/F32", [256, 256], encodeFloats("f32", moved))
          const { values } = yield* converted(ties, dtype, path)
          assert.strictEqual(firstDifference(values, decodeFloats(dtype, encodeFloats(dtype, moved))), -1)
        }
      }
    }))

  it.effect("says where a number became infinite", () =>
    Effect.gen(function*() {
      const path = yield* folder
      const values = new Float32Array(512).fill(1)
      values[300] = 65520
      const source = storedBlocks(path, "gguf/F32", [2, 256], encodeFloats("f32", values))
      assert.deepInclude((yield* converted(source, "f16", path)).facts, { firstInfinity: 300, largest: 65520 })
      assert.deepInclude((yield* converted(source, "f32", path)).facts, { firstInfinity: undefined })
    }))

  it.effect.each([4, 8] as const)(
    "quantizes what is coded as it does the plain numbers, to %i bits",
    (bits) =>
      Effect.gen(function*() {
        const kernels = yield* Kernels
        const path = yield* folder
        const coded = storedBlocks(path, "gguf/Q8_0", [rows, columns], q8)
        const numbers = formatOf(coded).values(coded, { blocks: q8 })
        const file = join(path, "plain.bin")
        writeFileSync(file, encodeFloats("f32", numbers))
        const plain: Tensor = {
          name: "plain",
          dtype: "f32",
          shape: [rows, columns],
          range: { file, offset: 0, length: numbers.length * 4 }
        }
        const form = { bits, block: 32, scales: "f16", zeros: "middle", minimum: false, ordered: false } as const
        const { bytes, places } = placesOf(form, rows, columns)
        const [one, two] = ["one", "two"].map((name) => sized(join(path, name), bytes))
        const facts = yield* kernels.quantize({ source: coded, bits, destination: { file: one ?? "", ...places } })
        const other = yield* kernels.quantize({ source: plain, bits, destination: { file: two ?? "", ...places } })
        const made = readFileSync(one ?? "")
        assert.isTrue(made.equals(readFileSync(two ?? "")))
        assert.deepStrictEqual({ ...facts, squares: 0, squaredErrors: 0 }, other)
        near(facts, numbers, fromCodes(form, rows, columns, made))
        assert.isAbove(facts.squaredErrors, 0)
      })
  )

  it.effect("quantizes rows of what is coded as it does the plain numbers", () =>
    Effect.gen(function*() {
      const kernels = yield* Kernels
      const path = yield* folder
      const coded = storedBlocks(path, "gguf/Q8_0", [rows, columns], q8)
      const numbers = formatOf(coded).values(coded, { blocks: q8 })
      const file = join(path, "plain.bin")
      writeFileSync(file, encodeFloats("f32", numbers))
      const range = { file, offset: 0, length: numbers.length * 4 }
      const plain: Tensor = { name: "plain", dtype: "f32", shape: [rows, columns], range }
      const [one, two] = ["one", "two"].map((name) => sized(join(path, name), rows * (columns + 2)))
      const scales = rows * columns
      const facts = yield* kernels.quantizeRows({ source: coded, destination: { file: one ?? "", codes: 0, scales } })
      yield* kernels.quantizeRows({ source: plain, destination: { file: two ?? "", codes: 0, scales } })
      const made = readFileSync(one ?? "")
      assert.isTrue(made.equals(readFileSync(two ?? "")))
      const steps = decodeFloats("bf16", made.subarray(scales))
      const back = numbers.map((_, i) => made.readInt8(i) * (steps[Math.floor(i / columns)] ?? 0))
      near(facts, numbers, back)
    }))

  it.effect.each(
    [
      { format: "gguf/Q8_0", bytes: 34, numbers: 32, at: 0, scale: [0x01, 0x7e], value: "NaN" },
      { format: "gguf/Q4_0", bytes: 18, numbers: 32, at: 0, scale: [0x00, 0x7c], value: "Infinity" },
      { format: "gguf/Q4_K", bytes: 144, numbers: 256, at: 2, scale: [0x00, 0xfe], value: "NaN" },
      { format: "gguf/Q6_K", bytes: 210, numbers: 256, at: 208, scale: [0x00, 0xfc], value: "Infinity" }
    ] as const
  )(
    "names the first number of a block of $format whose scale is damaged",
    ({ at, bytes, format, numbers, ...other }) =>
      Effect.gen(function*() {
        const path = yield* folder
        // codes without zeros or middles, so that all of a block is damaged
        const good = Uint8Array.from({ length: 6 * 5 * bytes }, () => 0x11)
        const damaged = good.slice()
        damaged.set(other.scale, (3 * 5 + 2) * bytes + at)
        damaged.set(other.scale, (4 * 5 + 1) * bytes + at)
        const source = storedBlocks(path, format, [6, 5 * numbers], damaged)
        const { facts } = yield* recoded(source, path)
        const error = yield* Effect.flip(Effect.fromResult(guard(source, facts)))
        assert.deepInclude(error.reason, { _tag: "NotFinite", value: other.value, index: [3, 2 * numbers] })
        const sound = storedBlocks(path, format, [6, 5 * numbers], good)
        assert.isTrue(Result.isSuccess(guard(sound, (yield* recoded(sound, path)).facts)))
      })
  )

  it.effect("names the place of a number in a later piece and chunk", () =>
    Effect.gen(function*() {
      const path = yield* folder
      const sides = [1300, 16_384] as const
      const stored = new Uint8Array(sides[0] * sides[1] / 32 * 34)
      stored.set([0x00, 0x7e], (1290 * sides[1] / 32 + 3) * 34)
      const source = storedBlocks(path, "gguf/Q8_0", sides, stored)
      const at = 1290 * sides[1] + 3 * 32
      assert.deepInclude(yield* (yield* Kernels).scan(source), { firstNaN: at, firstInfinity: undefined })
      const form = formatOf(source).form(source)
      if (form === undefined) return yield* Effect.die("no form")
      const { bytes, places } = placesOf(form, ...sides)
      const file = sized(join(path, "codes.bin"), bytes)
      const facts = yield* (yield* Kernels).recode({ source, form, to: { file, ...places } })
      assert.deepInclude(facts, { firstNaN: at, firstInfinity: undefined })
    }), 60_000)

  it.effect.skipIf(process.platform !== "linux")(
    "stops at the next chunk when interrupted, and works on",
    () =>
      Effect.gen(function*() {
        const kernels = yield* Kernels
        const path = yield* folder
        const few = storedBlocks(path, "gguf/Q8_0", [rows, columns], q8)
        // gigabytes of zeros: it ends only because it is interrupted
        const many = 2 ** 26
        const range = { file: "/dev/zero", offset: 0, length: many * 32 * 34 }
        const pieces = { blocks: { name: "blocks", dtype: "u8", shape: [range.length], range } } as const
        const changed = storedBlocks(path, "gguf/Q8_0", [many, 1024], q8, { pieces })
        const fiber = yield* Effect.forkChild(kernels.scan({ ...changed, range }))
        yield* kernels.scan(few)
        assert.isTrue(Exit.isFailure(yield* Effect.andThen(Fiber.interrupt(fiber), Fiber.await(fiber))))
        assert.strictEqual((yield* kernels.scan(few)).numbers, rows * columns)
      })
  )

  it.effect("refuses tensors whose bytes are not what their format needs", () =>
    Effect.gen(function*() {
      const kernels = yield* Kernels
      const path = yield* folder
      const fails = (source: Tensor) => Effect.map(Effect.flip(kernels.scan(source)), ({ reason }) => reason)
      const whole = storedBlocks(path, "gguf/Q8_0", [rows, columns], q8)
      assert.deepInclude(yield* fails({ ...whole, shape: [rows + 1, columns] }), {
        _tag: "NotQuantizable",
        expected: `gguf/Q8_0 for [${rows + 1} × ${columns}] in ${q8.length / rows * (rows + 1)} bytes of blocks`,
        found: `${q8.length} bytes of blocks`
      })
      assert.deepInclude(yield* fails({ ...whole, shape: [rows * 2, columns / 2 + 8] }), {
        expected: `gguf/Q8_0 for [${rows * 2} × ${columns / 2 + 8}]`
      })
      const odd = storedBlocks(path, "gguf/Q8_0", [rows, columns], q8, { interleavedHeads: 16 })
      assert.deepInclude(yield* fails(odd), { expected: "an even number of rows for each of 16 heads" })
      const none = storedBlocks(path, "gguf/Q8_0", [rows, columns], q8, { pieces: {} })
      assert.deepInclude(yield* fails(none), { found: "no blocks" })

      const to = { file: sized(join(path, "out.bin"), 1), offset: 0 }
      const { coded: _, ...plain } = whole
      const notCoded = yield* Effect.flip(kernels.convert({ source: plain, dtype: "f32", to }))
      assert.deepInclude(notCoded.reason, { expected: "a coded tensor", found: "plain f32" })
      const form = { bits: 4, block: 32, scales: "f16", zeros: "middle", minimum: false, ordered: false } as const
      const place = { file: to.file, codes: 0, scales: 0 }
      const wrong = yield* Effect.flip(kernels.recode({ source: whole, form, to: place }))
      assert.deepInclude(wrong.reason, { _tag: "NotQuantizable", expected: "the form of its format" })

      writeFileSync(whole.range.file, new Uint8Array(5000))
      assert.deepInclude(yield* fails(whole), { _tag: "SourceTruncated", found: 5000 - 101, expected: q8.length })
    }))
})

// more than one piece of 16 MiB, many chunks, and a last one that is smaller
const block = blocks.find(({ name }) => name === "Q4_K")
const tall = { rows: 1301, columns: 24_576 }
const many = block === undefined ? new Uint8Array() : randomBlocks(block, tall.rows, tall.columns / 256, 5)

describe.each([1, 3])("Kernels with %i jobs", (jobs) => {
  layer(Kernels.layer(jobs), { excludeTestServices: true })((it) => {
    it.effect("recodes a large matrix: the same bytes for any number of jobs", () =>
      Effect.gen(function*() {
        const path = yield* folder
        const { columns, rows } = tall
        const source = storedBlocks(path, "gguf/Q4_K", [rows, columns], many)
        const form = block?.codes?.form
        if (form === undefined) return yield* Effect.die("no form")
        const { bytes, lengths, places } = placesOf(form, rows, columns)
        const file = sized(join(path, "codes.bin"), bytes)
        const facts = yield* (yield* Kernels).recode({ source, form, to: { file, ...places } })
        const made = readFileSync(file)
        const instance = new Instance()
        const kinds = ["codes", "scales", "minimum"] as const
        const [at = 0, ...to] = instance.place([many.length, ...kinds.map((kind) => lengths[kind])])
        const [codes = 0, scales = 0, minimum = 0] = to
        instance.bytes.set(many, at)
        instance.exports.recode_Q4_K(at, rows * columns / 256, codes, scales, minimum)
        for (const [i, kind] of kinds.entries()) {
          const whole = instance.bytes.subarray(to[i], (to[i] ?? 0) + lengths[kind])
          assert.isTrue(made.subarray(places[kind], places[kind] + lengths[kind]).equals(whole), kind)
        }
        assert.strictEqual(facts.numbers, rows * columns)
        const scanned = yield* (yield* Kernels).scan(source)
        assert.deepStrictEqual(scanned, facts)
      }), 60_000)
  })
})

describe("formats", () => {
  it("have names of their own, and kernels where they have codes", () => {
    const names = formats.map(({ name }) => name)
    assert.strictEqual(new Set(names).size, names.length)
    const withCodes = blocks.filter(({ codes }) => codes !== undefined).map(({ name }) => name)
    assert.deepStrictEqual(withCodes.toSorted(), [...recodedBlocks].toSorted())
    assert.deepStrictEqual(
      blocks.map(({ name }) => name),
      types.map(({ name }) => name).toSorted((a, b) =>
        blocks.findIndex(({ name }) => name === a) - blocks.findIndex(({ name }) => name === b)
      )
    )
  })

  it("say what is exact without codes: plain numbers", () => {
    const path = mkdtempSync(join(tmpdir(), "llima-stored-"))
    try {
      for (const { bytes, codes, name, numbers, plain } of blocks) {
        const source = storedBlocks(path, `gguf/${name}`, [2, numbers], new Uint8Array(2 * bytes))
        const format = formatOf(source)
        assert.deepStrictEqual(format.form(source), codes?.form)
        assert.strictEqual(format.exact, plain !== undefined)
        const moved = storedBlocks(path, `gguf/${name}`, [2, numbers], new Uint8Array(2 * bytes), { addend: -1 })
        assert.isUndefined(formatOf(moved).form(moved))
      }
    } finally {
      rmSync(path, { recursive: true })
    }
    assert.isAbove(kernelDTypes.length, 0)
  })
})
