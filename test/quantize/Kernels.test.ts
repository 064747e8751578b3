import { assert, describe, it, layer } from "@effect/vitest"
import { Effect, Exit, Fiber, Layer, Result, Scope } from "effect"
import { closeSync, ftruncateSync, mkdtempSync, openSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { makePool } from "../../src/quantize/kernel/Pool.ts"
import { Kernels } from "../../src/quantize/Kernels.ts"
import { guard, noFacts, unlikely } from "../../src/quantize/WeightFacts.ts"
import { encodeFloats } from "../../src/tensor/Float.ts"
import type { Tensor } from "../../src/tensor/Tensor.ts"
import { randomMatrix } from "./Reference.ts"
import { runKernel } from "./Run.ts"

const folder = Effect.acquireRelease(
  Effect.sync(() => mkdtempSync(join(tmpdir(), "llima-kernels-"))),
  (path) => Effect.sync(() => rmSync(path, { recursive: true }))
)

const sized = (file: string, bytes: number): string => {
  const fd = openSync(file, "w")
  ftruncateSync(fd, bytes)
  closeSync(fd)
  return file
}

/** A matrix in a file, after some other bytes. */
const stored = (
  path: string,
  dtype: "bf16" | "f16" | "f32",
  shape: ReadonlyArray<number>,
  bytes: Uint8Array
): Tensor => {
  const file = join(path, "model.safetensors")
  writeFileSync(file, Buffer.concat([new Uint8Array(134).fill(7), bytes]))
  return { name: "down_proj.weight", dtype, shape, range: { file, offset: 134, length: bytes.length } }
}

const bytesOf = (byte: number, length: number, file: string, offset: number) => ({ byte, length, to: { file, offset } })

// 40 MB of f32: three pieces, 40 chunks, and rows that need padding
const rows = 12_500, columns = 805, blocks = 26
const large = randomMatrix("f32", rows * columns, 3)
const expected = {
  4: runKernel("int4", "f32", large, rows, columns),
  8: runKernel("int8", "f32", large, rows, columns)
}

describe.each([1, 2, 3])("Kernels with %i jobs", (jobs) => {
  layer(Kernels.layer(jobs), { excludeTestServices: true })((it) => {
    it.effect.each([4, 8] as const)(
      "quantizes a large matrix to %i bits: the same bytes for any number of jobs",
      (bits) =>
        Effect.gen(function*() {
          const kernels = yield* Kernels
          const path = yield* folder
          const source = stored(path, "f32", [rows, columns], large)
          const codeBytes = rows * blocks * 4 * bits, scaleBytes = rows * blocks * 2
          const file = sized(join(path, "blob.bin"), 64 + codeBytes + scaleBytes)
          const facts = yield* kernels.quantize({
            source,
            bits,
            destination: { file, codes: 64, scales: 64 + codeBytes }
          })
          const blob = readFileSync(file)
          assert.isTrue(blob.subarray(0, 64).every((byte) => byte === 0))
          assert.isTrue(blob.subarray(64, 64 + codeBytes).equals(expected[bits].codes))
          assert.isTrue(blob.subarray(64 + codeBytes).equals(new Uint8Array(expected[bits].scales.buffer)))
          assert.deepInclude(facts, { numbers: rows * columns, allZero: false, largest: expected[bits].seen.largest })
          assert.isTrue(Result.isSuccess(guard(source, facts)))
        }),
      60_000
    )
  })
})

layer(Kernels.layer(2), { excludeTestServices: true })("Kernels", (it) => {
  it.effect("quantizes embeddings by rows", () =>
    Effect.gen(function*() {
      const kernels = yield* Kernels
      const path = yield* folder
      const bytes = randomMatrix("bf16", 3000 * 100, 5)
      const source = stored(path, "bf16", [3000, 100], bytes)
      const file = sized(join(path, "embeddings.bin"), 3000 * 102)
      yield* kernels.quantizeRows({ source, destination: { file, codes: 6000, scales: 0 } })
      const made = runKernel("rows", "bf16", bytes, 3000, 100)
      assert.isTrue(readFileSync(file).equals(Buffer.concat([new Uint8Array(made.scales.buffer), made.codes])))
    }))

  it.effect("scans, copies and fills", () =>
    Effect.gen(function*() {
      const kernels = yield* Kernels
      const path = yield* folder
      const values = new Float32Array(10_000_000).fill(0.5)
      values[9_000_001] = NaN
      const bytes = encodeFloats("f32", values)
      const tensor = stored(path, "f32", [10_000, 1000], bytes)
      const scanned = yield* kernels.scan(tensor)
      assert.deepInclude(scanned, { numbers: 10_000_000, firstNaN: 9_000_001, firstInfinity: undefined, largest: 0.5 })
      const file = sized(join(path, "copy.bin"), 100 + bytes.length)
      assert.deepStrictEqual(yield* kernels.copy({ from: tensor.range, to: { file, offset: 100 }, tensor }), scanned)
      assert.isTrue(readFileSync(file).subarray(100).equals(bytes))
      yield* kernels.fill(bytesOf(0x88, 3_000_000, file, 7))
      const filled = readFileSync(file).subarray(0, 3_000_008)
      assert.deepStrictEqual([filled.indexOf(0x88), filled.lastIndexOf(0x88)], [7, 3_000_006])
      assert.deepStrictEqual(
        yield* kernels.copy({ from: { ...tensor.range, length: 0 }, to: { file, offset: 0 } }),
        noFacts
      )
    }))

  it.effect("names the place of a NaN", () =>
    Effect.gen(function*() {
      const kernels = yield* Kernels
      const path = yield* folder
      const values = new Float32Array(6000 * 1000).fill(1)
      values[5999 * 1000 + 17] = NaN
      const source = stored(path, "bf16", [6000, 1000], encodeFloats("bf16", values))
      const file = sized(join(path, "blob.bin"), 6000 * 32 * 18)
      const facts = yield* kernels.quantize({ source, bits: 4, destination: { file, codes: 0, scales: 6000 * 512 } })
      const refused = yield* Effect.flip(Effect.fromResult(guard(source, facts)))
      assert.deepInclude(refused.reason, { _tag: "NotFinite", value: "NaN", index: [5999, 17] })
      assert.include(refused.message, `down_proj.weight: NaN at [5999, 17] in ${source.range.file}, expected`)
      assert.include(refused.message, "download that file again")
    }))

  it.effect("refuses scales that f16 does not hold", () =>
    Effect.gen(function*() {
      const kernels = yield* Kernels
      const path = yield* folder
      const values = new Float32Array(4 * 80).fill(1)
      values[3 * 80 + 70] = -3e6
      const source = stored(path, "f32", [4, 80], encodeFloats("f32", values))
      const file = sized(join(path, "blob.bin"), 4 * 3 * 18)
      const facts = yield* kernels.quantize({ source, bits: 4, destination: { file, codes: 0, scales: 4 * 3 * 16 } })
      const refused = yield* Effect.flip(Effect.fromResult(guard(source, facts)))
      assert.deepInclude(refused.reason, { _tag: "ScaleOverflow", blocks: 1, index: [3, 64], largest: 3e6 })
    }))

  it.effect("says where a file ends too early, and what cannot be read, written or quantized", () =>
    Effect.gen(function*() {
      const kernels = yield* Kernels
      const path = yield* folder
      const whole = stored(path, "bf16", [64, 64], randomMatrix("bf16", 64 * 64, 1))
      const file = sized(join(path, "blob.bin"), 64 * 64)
      const fails = (source: Tensor, to = file) =>
        Effect.flip(kernels.quantize({ source, bits: 4, destination: { file: to, codes: 0, scales: 2048 } }))

      const longer = { ...whole, shape: [65, 64], range: { ...whole.range, length: 65 * 128 } }
      const truncated = yield* fails(longer)
      assert.deepInclude(truncated.reason, {
        _tag: "SourceTruncated",
        expected: 65 * 128,
        found: 64 * 128,
        offset: 134
      })
      const absent = yield* fails({ ...whole, range: { ...whole.range, file: join(path, "absent") } })
      assert.strictEqual(absent.reason._tag, "SourceUnreadable")
      const nowhere = yield* fails(whole, join(path, "absent.bin"))
      assert.deepInclude(nowhere.reason, { _tag: "DestinationUnwritable", file: join(path, "absent.bin") })
      const eight = yield* fails({ ...whole, dtype: "i8" })
      assert.deepInclude(eight.reason, { _tag: "NotQuantizable", found: "i8" })
      assert.deepInclude((yield* fails({ ...whole, shape: [64 * 64] })).reason, {
        expected: "a matrix",
        found: "[4096]"
      })
      assert.deepInclude((yield* fails({ ...whole, shape: [64, 65] })).reason, {
        _tag: "NotQuantizable",
        found: "8192"
      })
      const codes = [truncated, absent, nowhere, eight].map((error) => error["~effect/Runtime/errorExitCode"])
      assert.deepStrictEqual(codes, [3, 3, 3, 4])
    }))

  it.effect.skipIf(process.platform !== "linux")("tells a full disk from other failures", () =>
    Effect.gen(function*() {
      const kernels = yield* Kernels
      const error = yield* Effect.flip(kernels.fill(bytesOf(1, 10, "/dev/full", 0)))
      assert.deepInclude(error.reason, { _tag: "DiskFull", bytes: 10, offset: 0 })
      assert.strictEqual(error["~effect/Runtime/errorExitCode"], 7)
    }))

  it.effect("stops at the next chunk when interrupted, and works on", () =>
    Effect.gen(function*() {
      const kernels = yield* Kernels
      const path = yield* folder
      const file = sized(join(path, "zeros.bin"), 1)
      const put = (byte: number) => kernels.fill(bytesOf(byte, 1, file, 0))
      // terabytes: it ends only because it is interrupted
      const fiber = yield* Effect.forkChild(
        kernels.copy({ from: { file: "/dev/zero", offset: 0, length: 2 ** 40 }, to: { file: "/dev/null", offset: 0 } })
      )
      yield* put(9)
      assert.isTrue(Exit.isFailure(yield* Effect.andThen(Fiber.interrupt(fiber), Fiber.await(fiber))))
      yield* put(10)
      assert.deepStrictEqual([...readFileSync(file)], [10])
    }))
})

/** A thread that runs this. */
const entry = (code: string) => new URL(`data:text/javascript,${encodeURIComponent(code)}`)

describe("makePool", () => {
  const task = { kind: "fill", byte: 0, length: 0, destination: { file: "", offset: 0 } } as const

  it.live("says that a thread was lost, and starts another", () =>
    Effect.gen(function*() {
      const run = yield* makePool(
        entry(`import { parentPort } from "node:worker_threads"
          parentPort.on("message", () => process.exit(9))`),
        1
      )
      assert.deepStrictEqual(yield* run(task), { kind: "lost", detail: "exit code 9" })
      assert.deepStrictEqual(yield* run(task), { kind: "lost", detail: "exit code 9" })
    }))

  it.live("hands on what a thread threw", () =>
    Effect.gen(function*() {
      const run = yield* makePool(
        entry(`import { parentPort } from "node:worker_threads"
          parentPort.on("message", () => { throw new Error("broken") })`),
        1
      )
      assert.deepStrictEqual(yield* run(task), { kind: "lost", detail: "broken" })
    }))

  it.live("ends a busy thread with its scope", () =>
    Effect.gen(function*() {
      const scope = yield* Scope.make()
      const run = yield* Scope.provide(
        makePool(
          entry(`import { parentPort } from "node:worker_threads"
            parentPort.on("message", () => { for (;;); })`),
          1
        ),
        scope
      )
      const fiber = yield* Effect.forkChild(run(task), { startImmediately: true })
      yield* Scope.close(scope, Exit.void)
      assert.strictEqual((yield* Fiber.join(fiber)).kind, "lost")
    }))

  it.live("starts no thread without work", () =>
    Effect.gen(function*() {
      // building and closing a layer whose entry does not exist fails nothing
      yield* Effect.scoped(makePool(new URL("file:///absent.js"), 2))
      assert.isTrue(Exit.isSuccess(yield* Effect.exit(Effect.scoped(Layer.build(Kernels.layer(2))))))
    }))
})

const shaped = (shape: ReadonlyArray<number>): Tensor => ({
  name: "w",
  dtype: "bf16",
  shape,
  range: { file: "m", offset: 0, length: 0 }
})

describe("unlikely", () => {
  const facts = { ...noFacts, numbers: 128, allZero: false, largest: 1 }
  it("says nothing of ordinary weights, of a bias of zeros, nor of what nobody looked at", () => {
    assert.deepStrictEqual(unlikely(shaped([2, 64]), noFacts), [])
    assert.deepStrictEqual(unlikely(shaped([2, 64]), facts), [])
    assert.deepStrictEqual(unlikely(shaped([128]), { ...facts, allZero: true, largest: 0 }), [])
  })
  it("names matrices of zeros, magnitudes beyond 16 bits, and blocks that vanish", () => {
    assert.deepStrictEqual(unlikely(shaped([2, 64]), { ...facts, allZero: true, largest: 0 }), [
      "w: all 128 numbers are zero; is the checkpoint whole?"
    ])
    assert.deepStrictEqual(unlikely(shaped([2, 64]), { ...facts, largest: 3e38, underflow: { count: 2, first: 3 } }), [
      "w: its largest magnitude is 3.000e+38; is the checkpoint sound?",
      "w: 2 blocks of 32, the first at [1, 32], are too small for a 16-bit scale: they lose precision"
    ])
  })
})
