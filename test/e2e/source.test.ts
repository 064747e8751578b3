import { assert, describe, layer } from "@effect/vitest"
import { Effect } from "effect"
import {
  copyFileSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync
} from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { readCase } from "../arch/Case.ts"
import {
  answer,
  assertSameBuild,
  compile,
  filesOf,
  folder,
  hashesOf,
  model,
  opened,
  Platform,
  stepsOf
} from "./Build.ts"

const name = "qwen3"
const example = readCase(name)
const { ids, new_ids } = example.prompts.long
const all = { maxNumTokens: 96, languageGroupSize: 16 }

const stored = { F32: Float32Array, F16: Float16Array } as const
type Stored = keyof typeof stored

/** The case with its numbers stored in another format; bf16 has seven bits of fraction, so that none is lost. */
const writeAs = (path: string, dtype: Stored): string => {
  mkdirSync(path, { recursive: true })
  for (const file of readdirSync(model(name)).filter((entry) => entry.includes("json") || entry.endsWith(".jinja"))) {
    copyFileSync(join(model(name), file), join(path, file))
  }
  let end = 0
  const header: Record<string, unknown> = {}
  const pieces = Array.from(example.tensors.values(), ({ name, range, shape }) => {
    const bytes = readFileSync(range.file).subarray(range.offset, range.offset + range.length)
    const bits = Uint32Array.from({ length: bytes.length / 2 }, (_, i) => bytes.readUInt16LE(2 * i) << 16)
    const numbers = new stored[dtype](new Float32Array(bits.buffer))
    header[name] = { dtype, shape, data_offsets: [end, end += numbers.byteLength] }
    return new Uint8Array(numbers.buffer)
  })
  const text = Buffer.from(JSON.stringify(header))
  const length = Buffer.alloc(8)
  length.writeBigUInt64LE(BigInt(text.length))
  writeFileSync(join(path, "model.safetensors"), Buffer.concat([length, text, ...pieces]))
  return path
}

const blobs = (out: string): ReadonlyArray<string> =>
  Object.entries(hashesOf(join(out, "sima_files/quantized/weights"))).filter(([file]) => file.endsWith(".bin"))
    .map(([, hash]) => hash)

describe("a checkpoint", () => {
  layer(Platform, { excludeTestServices: true })((it) => {
    it.effect.each(["F32", "F16"] as const)(
      "of %s gives the reference's logits and ids",
      (dtype) =>
        Effect.gen(function*() {
          const root = yield* folder
          const output = join(root, "out")
          yield* compile({ ...all, modelPath: writeAs(join(root, "model"), dtype), output })
          const { ids: found, rows } = yield* answer(yield* opened(output), {
            ids,
            maxNewTokens: new_ids.length,
            ignoreEos: true,
            logits: true
          })
          assert.deepStrictEqual(found, [...new_ids])
          const expected = example.array("logits_long").data
          const logits = rows.flatMap((row) => Array.from(row))
          assert.strictEqual(logits.length, expected.length)
          assert.isAtMost(
            Math.max(...logits.map((value, i) => Math.abs(value - (expected[i] ?? NaN)))),
            example.tolerance
          )
        }).pipe(Effect.scoped)
    )

    it.effect.each(["A_BF16_W_INT8", "A_BF16_W_INT4"])(
      "of the same numbers gives the same codes in any format: %s",
      (precision) =>
        Effect.gen(function*() {
          const root = yield* folder
          const configurationFile = join(root, "config.py")
          writeFileSync(
            configurationFile,
            `def get_layer_configuration(model, layer):\n    return {"precision": "${precision}"}\n`
          )
          const asked = { ...all, configurationFile }
          yield* compile({ ...asked, modelPath: model(name), output: join(root, "bf16") })
          yield* compile({ ...asked, modelPath: writeAs(join(root, "model"), "F32"), output: join(root, "f32") })
          assert.strictEqual(blobs(join(root, "bf16")).length, 6)
          assert.deepStrictEqual(blobs(join(root, "f32")), blobs(join(root, "bf16")))
        }).pipe(Effect.scoped)
    )

    it.effect("whose files are links into another folder, as the hub's cache has them, gives the same build", () =>
      Effect.gen(function*() {
        const root = yield* folder
        const linked = join(root, name)
        mkdirSync(linked)
        for (const file of filesOf(model(name))) {
          if (!file.includes("/")) symlinkSync(join(model(name), file), join(linked, file))
        }
        yield* compile({ ...all, modelPath: linked, output: join(root, "linked") })
        yield* compile({ ...all, modelPath: model(name), output: join(root, "plain") })
        assertSameBuild(join(root, "linked"), join(root, "plain"))
        assert.isTrue(statSync(join(root, "linked/onnx_files/weights/model.safetensors")).isFile())
      }).pipe(Effect.scoped))

    it.effect("is left as it was", () =>
      Effect.gen(function*() {
        const root = yield* folder
        const source = writeAs(join(root, "model"), "F32")
        const before = hashesOf(source)
        const asked = { ...all, modelPath: source, output: join(root, "out") }
        yield* compile(asked)
        yield* compile({ ...asked, output: join(root, "out"), resume: true, keepQuantized: "none", returnLogits: true })
        assert.deepStrictEqual(hashesOf(source), before)
      }).pipe(Effect.scoped))

    const otherDisk = "/dev/shm"
    const has = statSync(otherDisk, { throwIfNoEntry: false })?.dev
    it.effect.skipIf(has === undefined || has === statSync(tmpdir()).dev)(
      "on another disk than the output folder is copied there once (where /dev/shm is one)",
      () =>
        Effect.gen(function*() {
          const far = yield* Effect.acquireRelease(
            Effect.sync(() => mkdtempSync(join(otherDisk, "llima-e2e-"))),
            (path) => Effect.sync(() => rmSync(path, { recursive: true }))
          )
          const root = yield* folder
          const source = writeAs(join(root, "model"), "F32")
          const output = join(far, "out")
          yield* compile({ ...all, modelPath: source, output })
          yield* compile({ ...all, modelPath: source, output: join(root, "near") })
          assertSameBuild(output, join(root, "near"))
          const again = yield* compile({ ...all, modelPath: source, output, resume: true })
          assert.deepStrictEqual(stepsOf(again).made, [])
          const files = ["onnx_files", "sima_files/quantized"].map((at) =>
            statSync(join(output, at, "weights/model.safetensors"))
          )
          assert.strictEqual(new Set(files.map(({ ino }) => ino)).size, 1)
        }).pipe(Effect.scoped)
    )
  })
})
