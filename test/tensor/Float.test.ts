import { assert, describe, it } from "@effect/vitest"
import { Result } from "effect"
import { readFileSync } from "node:fs"
import { join } from "node:path"
import * as Float from "../../src/tensor/Float.ts"
import { decode } from "../../src/tensor/Npy.ts"

const folder = join(import.meta.dirname, "../fixtures/numeric")

/** The bytes of a fixture's data, aligned. */
const load = (name: string): Uint8Array<ArrayBuffer> => {
  const bytes = Uint8Array.from(readFileSync(join(folder, `${name}.npy`)))
  return bytes.slice(Result.getOrThrow(decode(bytes)).dataOffset)
}
const floats = (name: string) => new Float32Array(load(name).buffer)
const inputs = new Float32Array(load("round_input_bits").buffer)

const decoders = [
  { name: "fromBf16", from: Float.fromBf16, to: Float.toBf16, table: "bf16_to_f32_every5", step: 5, codes: 65_536 },
  { name: "fromF16", from: Float.fromF16, to: Float.toF16, table: "f16_to_f32_every5", step: 5, codes: 65_536 },
  { name: "fromE4m3", from: Float.fromE4m3, to: Float.toE4m3, table: "f8_e4m3fn_to_f32", step: 1, codes: 256 },
  { name: "fromE5m2", from: Float.fromE5m2, to: Float.toE5m2, table: "f8_e5m2_to_f32", step: 1, codes: 256 }
] as const

describe.each(decoders)("$name", ({ codes, from, step, table, to }) => {
  it("gives the reference's value of every code in the table", () => {
    const want = floats(table)
    assert.strictEqual(want.length, Math.ceil(codes / step))
    for (const [index, value] of want.entries()) {
      assert.isTrue(Object.is(from(index * step), value), `code ${index * step}`)
    }
  })

  it("is undone by encoding, for every code that is a number", () => {
    for (let code = 0; code < codes; code++) {
      const value = from(code)
      if (value === value) assert.strictEqual(to(value), code)
      else assert.isNaN(from(to(value)))
    }
  })
})

const encoders = [
  { name: "toBf16", dtype: "bf16", from: Float.fromBf16, to: Float.toBf16, table: "round_to_bf16" },
  { name: "toF16", dtype: "f16", from: Float.fromF16, to: Float.toF16, table: "round_to_f16" },
  { name: "toE4m3", dtype: "f8_e4m3", from: Float.fromE4m3, to: Float.toE4m3, table: "round_to_f8_e4m3fn" },
  { name: "toE5m2", dtype: "f8_e5m2", from: Float.fromE5m2, to: Float.toE5m2, table: "round_to_f8_e5m2" }
] as const

describe.each(encoders)("$name", ({ dtype, from, table, to }) => {
  const bytes = load(table)
  const want = dtype === "bf16" || dtype === "f16" ? new Uint16Array(bytes.buffer) : bytes

  it("rounds as the reference does, bit for bit", () => {
    assert.strictEqual(want.length, inputs.length)
    for (const [index, input] of inputs.entries()) {
      if (input === input) assert.strictEqual(to(input), want[index], `input ${input}`)
      else assert.isNaN(from(to(input)))
    }
  })

  it("agrees with encodeFloats and decodeFloats, at any offset", () => {
    const numbers = inputs.filter((input) => input === input)
    const encoded = Float.encodeFloats(dtype, numbers)
    const odd = new Uint8Array(encoded.length + 1)
    odd.set(encoded, 1)
    const decoded = Float.decodeFloats(dtype, odd.subarray(1))
    assert.strictEqual(decoded.length, numbers.length)
    for (const [index, number] of numbers.entries()) {
      assert.isTrue(Object.is(decoded[index], from(to(number))), `input ${number}`)
    }
  })
})

describe("decodeFloats", () => {
  it("gives float32 as it is, in memory of its own", () => {
    const bytes = Float.encodeFloats("f32", Float32Array.of(1.5, -0))
    const values = Float.decodeFloats("f32", bytes)
    bytes.fill(0)
    assert.deepStrictEqual(values, Float32Array.of(1.5, -0))
  })

  it("ignores the rest of an incomplete number", () => {
    assert.deepStrictEqual(Float.decodeFloats("bf16", Uint8Array.of(0x80, 0x3f, 0x80)), Float32Array.of(1))
  })
})
