import * as NodeServices from "@effect/platform-node/NodeServices"
import { assert, describe, layer } from "@effect/vitest"
import { Effect, FileSystem, Layer, Schema } from "effect"
import { readdirSync, readFileSync } from "node:fs"
import { join } from "node:path"
import { formatOf } from "../../../src/quantize/format/registry.ts"
import { Kernels } from "../../../src/quantize/Kernels.ts"
import * as Checkpoint from "../../../src/source/Checkpoint.ts"
import { byteLength } from "../../../src/tensor/DType.ts"
import { decodeFloats, encodeFloats } from "../../../src/tensor/Float.ts"
import type { ByteRange, Tensor } from "../../../src/tensor/Tensor.ts"
import { generator } from "../Reference.ts"
import { firstDifference, fromCodes, placesOf, sized } from "../Stored.ts"
import { build, bytesOf, codeAt, randomPiece, sha256, type Shape, storedPieces, unordered } from "./Quantized.ts"

const root = join(import.meta.dirname, "../../fixtures/compressed")
const cases = readdirSync(root).filter((name) => /^(llama|qwen)/.test(name))

const Expected = Schema.fromJsonString(Schema.Struct({
  rounded_dtype: Schema.Literals(["bfloat16", "float16"]),
  decompressed: Schema.Record(
    Schema.String,
    Schema.Struct({ shape: Schema.Array(Schema.Int), sha256_f32le: Schema.String, sha256_rounded: Schema.String })
  )
}))

const expectedOf = (name: string) =>
  Schema.decodeSync(Expected)(readFileSync(join(root, name, "expected.json"), "utf8"))

const read = ({ file, length, offset }: ByteRange): Uint8Array =>
  Uint8Array.from(readFileSync(file).subarray(offset, offset + length))

const piecesOf = (tensor: Tensor) =>
  Object.fromEntries(Object.entries(tensor.coded?.pieces ?? {}).map(([name, { range }]) => [name, read(range)]))

const folder = Effect.flatMap(FileSystem.FileSystem, (fs) => fs.makeTempDirectoryScoped())

const countOf = (shape: ReadonlyArray<number>): number => shape.reduce((a, b) => a * b, 1)

const converted = Effect.fnUntraced(function*(source: Tensor, dtype: "bf16" | "f16" | "f32") {
  const file = sized(join(yield* folder, "numbers.bin"), byteLength(dtype, countOf(source.shape)))
  yield* (yield* Kernels).convert({ source, dtype, to: { file, offset: 0 } })
  return Uint8Array.from(readFileSync(file))
})

/** Codes that a tensor became, as numbers in the model's order. */
const recoded = Effect.fnUntraced(function*(source: Tensor) {
  const form = formatOf(source).form(source)
  if (form === undefined) return yield* Effect.die("no form")
  const [rows = 0, columns = 0] = source.shape
  const { bytes, lengths, places } = placesOf(form, rows, columns)
  const file = sized(join(yield* folder, "codes.bin"), bytes + (form.ordered ? columns * 4 : 0))
  const facts = yield* (yield* Kernels).recode({ source, form, to: { file, ...places, order: bytes } })
  const made = Uint8Array.from(readFileSync(file))
  const values = fromCodes(form, rows, columns, made)
  const order = new Int32Array(made.slice(bytes).buffer)
  return { facts, form, made, lengths, places, values: form.ordered ? unordered(values, columns, order) : values }
})

layer(Layer.merge(Kernels.layer(2), NodeServices.layer), { excludeTestServices: true })("quantised folders", (it) => {
  it.effect.each(cases)("%s has the numbers of the library that made it", (name) =>
    Effect.gen(function*() {
      const { decompressed, rounded_dtype } = expectedOf(name)
      const { tensors } = yield* Checkpoint.open(join(root, name))
      assert.deepStrictEqual([...tensors.keys()].sort(), Object.keys(decompressed).sort())
      let coded = 0
      for (const [key, { sha256_f32le, sha256_rounded, shape }] of Object.entries(decompressed)) {
        const tensor = tensors.get(key)
        if (tensor === undefined) return yield* Effect.die(key)
        assert.deepStrictEqual(tensor.shape, shape, key)
        if (tensor.coded === undefined) {
          assert.isTrue(tensor.dtype === "f16" || tensor.dtype === "bf16", key)
          if (tensor.dtype !== "f16" && tensor.dtype !== "bf16") continue
          assert.strictEqual(sha256(bytesOf(decodeFloats(tensor.dtype, read(tensor.range)))), sha256_f32le, key)
          continue
        }
        coded++
        const format = formatOf(tensor)
        assert.strictEqual(sha256(bytesOf(format.values(tensor, piecesOf(tensor)))), sha256_f32le, `${key} reference`)
        assert.strictEqual(sha256(yield* converted(tensor, "f32")), sha256_f32le, `${key} f32`)
        const half = rounded_dtype === "bfloat16" ? "bf16" : "f16"
        assert.strictEqual(sha256(yield* converted(tensor, half)), sha256_rounded, `${key} ${half}`)
        assert.strictEqual(format.form(tensor) === undefined, tensor.dtype === "bf16")
        if (format.form(tensor) === undefined) continue
        assert.strictEqual(sha256(bytesOf((yield* recoded(tensor)).values)), sha256_f32le, `${key} codes`)
      }
      assert.strictEqual(coded, 14)
    }))

  const shapes: ReadonlyArray<Shape> = [
    { format: "packed", bits: 4, rows: 3, columns: 64, group: 64, form: { block: 64, zeros: "middle" } },
    { format: "packed", bits: 4, rows: 37, columns: 160, group: 32, asymmetric: true, form: { minimum: true } },
    { format: "packed", bits: 4, rows: 37, columns: 160, group: 32, asymmetric: true, scale: "f16" },
    { format: "packed", bits: 4, rows: 37, columns: 192, group: 96, asymmetric: true, form: { block: 32 } },
    { format: "packed", bits: 4, rows: 12, columns: 300, group: 300, form: { block: 128 } },
    { format: "packed", bits: 4, rows: 7, columns: 125, group: 125, asymmetric: true },
    { format: "packed", bits: 4, rows: 13, columns: 301, group: 301, asymmetric: true },
    { format: "packed", bits: 8, rows: 5, columns: 301, group: 301, asymmetric: true, form: { zeros: "stored" } },
    { format: "packed", bits: 8, rows: 9, columns: 480, group: 160, asymmetric: true, form: { minimum: false } },
    { format: "packed", bits: 4, rows: 9, columns: 1024, group: 512, form: { block: 256, scales: "f32" } },
    { format: "packed", bits: 4, rows: 9, columns: 144, group: 144, single: true },
    { format: "packed", bits: 4, rows: 9, columns: 96, group: 16, ordered: true, asymmetric: true },
    { format: "packed", bits: 8, rows: 9, columns: 96, group: 32, ordered: true, form: { ordered: true } },
    { format: "packed", bits: 4, rows: 211, columns: 5120, group: 256, asymmetric: true, scale: "f32" },
    { format: "int8", bits: 8, rows: 11, columns: 77, group: 77 },
    { format: "int8", bits: 8, rows: 11, columns: 96, group: 32, asymmetric: true, scale: "f32" },
    { format: "int8", bits: 8, rows: 11, columns: 256, group: 256, single: true, form: { block: 256 } },
    { format: "gptq", bits: 4, rows: 40, columns: 96, group: 32, scale: "f16", form: { scales: "f16" } },
    { format: "gptq", bits: 8, rows: 40, columns: 96, group: 32, form: { bits: 8, zeros: "stored" } },
    { format: "gptq_v2", bits: 4, rows: 40, columns: 128, group: 32, ordered: true, scale: "f16" },
    { format: "gptq_v2", bits: 4, rows: 40, columns: 200, group: 200, scale: "f16" },
    { format: "gptq", bits: 4, rows: 216, columns: 5120, group: 128, scale: "f16", form: { zeros: "stored" } },
    { format: "awq", bits: 4, rows: 40, columns: 96, group: 32, scale: "f16", form: { minimum: true } },
    { format: "awq", bits: 4, rows: 24, columns: 60, group: 60, scale: "f16" },
    { format: "awq", bits: 4, rows: 216, columns: 5120, group: 128, scale: "f16", form: { zeros: "stored" } }
  ]

  describe("integer codes", () => {
    it.effect.each(shapes)("%j", (of) =>
      Effect.gen(function*() {
        const source = build(yield* folder, of)
        const { columns, rows } = of
        const expected = formatOf(source).values(source, piecesOf(source))
        const { facts, form, lengths, made, places, values } = yield* recoded(source)
        assert.deepInclude(form, of.form ?? {})
        assert.strictEqual(firstDifference(values, expected), -1)
        assert.strictEqual(facts.largest, expected.reduce((a, b) => Math.max(a, Math.abs(b)), 0))
        assert.strictEqual(firstDifference(decodeFloats("f32", yield* converted(source, "f32")), expected), -1)
        // what is behind the last column stands for 0
        const padded = Math.ceil(columns / form.block) * form.block
        const codes = made.subarray(places.codes, places.codes + lengths.codes)
        const zeros = made.subarray(places.zeros, places.zeros + lengths.zeros)
        const inRow = zeros.length / rows
        for (let row = 0; row < rows; row++) {
          const last = Math.ceil(columns / form.block) - 1
          const zero = form.zeros === "stored"
            ? codeAt(zeros.subarray(row * inRow), form.bits, last)
            : 2 ** (form.bits - 1)
          for (let column = columns; column < padded; column++) {
            assert.strictEqual(codeAt(codes, form.bits, row * padded + column), zero)
          }
        }
      }))

    it.effect("are exact as f32 where zero points and f32 scales leave no form", () =>
      Effect.gen(function*() {
        const shape = { format: "packed", bits: 4, rows: 10, columns: 96, group: 32 } as const
        const source = build(yield* folder, { ...shape, asymmetric: true, scale: "f32" })
        assert.isUndefined(formatOf(source).form(source))
        assert.isTrue(formatOf(source).exact)
        const expected = formatOf(source).values(source, piecesOf(source))
        assert.strictEqual(firstDifference(decodeFloats("f32", yield* converted(source, "f32")), expected), -1)
      }))

    it.effect("say where a scale is not finite", () =>
      Effect.gen(function*() {
        const source = build(yield* folder, { format: "packed", bits: 4, rows: 10, columns: 96, group: 32 })
        const scale = source.coded?.pieces["scale"]?.range
        if (scale === undefined) return yield* Effect.die("no scale")
        const fs = yield* FileSystem.FileSystem
        const bytes = yield* fs.readFile(scale.file)
        bytes.set([0xc0, 0x7f], scale.offset + (4 * 3 + 2) * 2)
        yield* fs.writeFile(scale.file, bytes)
        assert.strictEqual((yield* recoded(source)).facts.firstNaN, 4 * 96 + 64)
      }))
  })

  describe("small floats", () => {
    const rows = 21, columns = 224

    it.effect.each(
      [
        { format: "fp8", group: columns, scale: "bf16", single: false },
        { format: "fp8", group: columns, scale: "f32", single: true },
        { format: "fp8", group: 32, scale: "f16", single: false },
        { format: "nvfp4", group: 16, scale: "f8_e4m3", single: false }
      ] as const
    )("$format with $scale scales of $group", ({ format, group, scale, single }) =>
      Effect.gen(function*() {
        const next = generator(group)
        const isNvfp4 = format === "nvfp4"
        const scaleShape = single ? [1] : [rows, columns / group]
        const scaleBytes = encodeFloats(
          scale,
          Float32Array.from({ length: countOf(scaleShape) }, () => Math.fround(0.5 + next() * 3))
        )
        const source = storedPieces(
          yield* folder,
          { dtype: "bf16", shape: [rows, columns], format, bits: isNvfp4 ? 4 : 8, group },
          {
            ...isNvfp4
              ? {
                packed: randomPiece("u8", [rows, columns / 2], next),
                global_scale: { dtype: "f32", shape: [1], bytes: encodeFloats("f32", Float32Array.of(3.3)) }
              }
              : { codes: randomPiece("f8_e4m3", [rows, columns], next) },
            scale: { dtype: scale, shape: scaleShape, bytes: scaleBytes }
          },
          false
        )
        const expected = formatOf(source).values(source, piecesOf(source))
        assert.isUndefined(formatOf(source).form(source))
        assert.strictEqual(firstDifference(decodeFloats("f32", yield* converted(source, "f32")), expected), -1)
        const rounded = decodeFloats("bf16", encodeFloats("bf16", expected))
        assert.strictEqual(firstDifference(decodeFloats("bf16", yield* converted(source, "bf16")), rounded), -1)
        const nan = expected.findIndex((value) => value !== value)
        assert.strictEqual((yield* (yield* Kernels).scan(source)).firstNaN, nan < 0 ? undefined : nan)
      }))
  })
})
