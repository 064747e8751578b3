import { assert, describe, layer } from "@effect/vitest"
import { Effect } from "effect"
import { cpSync, readFileSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { json, npy } from "../arch/Case.ts"
import { answer, compile, filesOf, fixture, folder, model, opened, plan, Platform } from "./Build.ts"

type Header = Record<string, { dtype: string; shape: ReadonlyArray<number>; data_offsets: readonly [number, number] }>

/** Copies the case qwen2-tied to `path` and puts an `lm_head.weight` beside its tensors, made of the embedding's rows. */
const withHead = (path: string, make: (embedding: Uint8Array, rows: number) => Uint8Array, config = {}) => {
  cpSync(model("qwen2-tied"), path, { recursive: true })
  writeFileSync(join(path, "config.json"), JSON.stringify({ ...json(join(path, "config.json")), ...config }))
  const file = join(path, "model.safetensors")
  const bytes = readFileSync(file)
  const end = 8 + Number(bytes.readBigUInt64LE(0))
  const { __metadata__: _, ...header }: Header = JSON.parse(bytes.toString("utf8", 8, end))
  const data = bytes.subarray(end)
  const embedding = header["model.embed_tokens.weight"]
  assert.isDefined(embedding)
  const head = make(data.subarray(...embedding.data_offsets), embedding.shape[0] ?? 0)
  const entry = { ...embedding, data_offsets: [data.length, data.length + head.length] }
  const text = Buffer.from(JSON.stringify({ ...header, "lm_head.weight": entry }))
  const length = Buffer.alloc(8)
  length.writeBigUInt64LE(BigInt(text.length))
  writeFileSync(file, Buffer.concat([length, text, data, head]))
  return path
}

const reversed = (rows: Uint8Array, count: number): Uint8Array => {
  const width = rows.length / count
  return Buffer.concat(Array.from({ length: count }, (_, row) => rows.subarray(-(row + 1) * width).subarray(0, width)))
}

const same = (rows: Uint8Array): Uint8Array => rows

const aboutHead = (warnings: ReadonlyArray<string>) => warnings.filter((warning) => warning.includes("lm_head.weight"))

describe("a tied model with a head stored beside the embedding", () => {
  layer(Platform, { excludeTestServices: true })((it) => {
    it.effect("uses the head, with a warning, where it is another", () =>
      Effect.gen(function*() {
        const root = yield* folder
        const modelPath = withHead(join(root, "model"), reversed)
        const { warnings } = yield* compile({ modelPath, output: join(root, "out"), maxNumTokens: 64 })
        assert.strictEqual(aboutHead(warnings).length, 1)
        const at = fixture("own-head")
        const { ids, new_ids, tolerance }: { ids: Array<number>; new_ids: Array<number>; tolerance: number } = json(
          join(at, "expected.json")
        )
        const runner = yield* opened(join(root, "out"))
        const { ids: found, rows } = yield* answer(runner, {
          ids,
          maxNewTokens: new_ids.length,
          ignoreEos: true,
          logits: true
        })
        const expected = npy(join(at, "logits_short.npy")).data
        const all = rows.flatMap((row) => [...row])
        assert.strictEqual(all.length, expected.length)
        assert.isAtMost(Math.max(...all.map((value, i) => Math.abs(value - (expected[i] ?? NaN)))), tolerance)
        assert.deepStrictEqual(found, new_ids)
      }).pipe(Effect.scoped))

    it.effect("stays tied where the head is the embedding once more", () =>
      Effect.gen(function*() {
        const root = yield* folder
        const modelPath = withHead(join(root, "model"), same)
        const { job, warnings } = yield* plan({ modelPath, output: join(root, "out") })
        assert.strictEqual(job.model.facts.head, "model.embed_tokens.weight")
        assert.deepStrictEqual(aboutHead(warnings), [])
        assert.deepStrictEqual(filesOf(join(root, "out")), [])
      }).pipe(Effect.scoped))

    it.effect("has nothing to warn of where the config does not tie", () =>
      Effect.gen(function*() {
        const root = yield* folder
        const modelPath = withHead(join(root, "model"), reversed, { tie_word_embeddings: false })
        const { job, warnings } = yield* plan({ modelPath, output: join(root, "out") })
        assert.strictEqual(job.model.facts.head, "lm_head.weight")
        assert.deepStrictEqual(aboutHead(warnings), [])
      }).pipe(Effect.scoped))
  })
})
