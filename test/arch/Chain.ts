import { cpSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import type { InferenceSession, Tensor } from "onnxruntime-node"
import type { AttentionFacts, Model, Weights } from "../../src/arch/Architecture.ts"
import type { Graph } from "../../src/onnx/Graph.ts"
import { encode } from "../../src/onnx/OnnxFile.ts"
import { decodeFloats } from "../../src/tensor/Float.ts"
import type { Case } from "./Case.ts"

/** What a pass over a whole prompt gives: `hidden` before each layer, keys and values of each attention layer, the state of each convolution layer. */
export interface Pass {
  readonly hidden: ReadonlyArray<Float32Array>
  readonly keys: ReadonlyArray<Float32Array>
  readonly values: ReadonlyArray<Float32Array>
  readonly states: ReadonlyArray<Float32Array>
  readonly last: Float32Array | BigInt64Array
}

/** 0 where a token sees another, -inf elsewhere, `[tokens × tokens]`. */
const maskOf = (tokens: number, window: number | undefined): Float32Array =>
  Float32Array.from({ length: tokens * tokens }, (_, at) => {
    const back = Math.floor(at / tokens) - (at % tokens)
    return back >= 0 && back < (window ?? Infinity) ? 0 : -Infinity
  })

const tablesOf = (model: Model, facts: AttentionFacts, tokens: number) => {
  const rope = model.facts.ropes.find(({ name }) => name === facts.rope)
  if (rope === undefined) return undefined
  const frequencies = rope.long !== undefined && tokens > rope.long.above
    ? rope.long.inverseFrequencies
    : rope.inverseFrequencies
  const table = (wave: (angle: number) => number) =>
    Float32Array.from({ length: tokens * frequencies.length }, (_, at) => {
      const angle = Math.fround(Math.floor(at / frequencies.length) * (frequencies[at % frequencies.length] ?? 0))
      return Math.fround(Math.fround(wave(angle)) * Math.fround(rope.attentionFactor))
    })
  return { cos: table(Math.cos), sin: table(Math.sin), half: frequencies.length }
}

const floats = (value: unknown): Float32Array => {
  if (value instanceof Float32Array) return value.slice()
  throw new Error("not float32")
}

/** Runs a model's float graphs part by part in onnxruntime, the checkpoint's files beside them, until `use` ends. */
export const withChain = async <A>(
  model: Model,
  weights: Weights,
  { path }: Case,
  use: (
    chain: (ids: ReadonlyArray<number>, output: "logits" | "token", rows: ReadonlyArray<number>) => Promise<Pass>
  ) => Promise<A>
): Promise<A> => {
  const ort = await import("onnxruntime-node")
  const folder = mkdtempSync(join(tmpdir(), "llima-arch-"))
  mkdirSync(join(folder, "weights"))
  for (const name of readdirSync(path)) {
    if (name.endsWith(".safetensors")) cpSync(join(path, name), join(folder, "weights", name))
  }
  const f32 = (data: Float32Array, columns: number) => new ort.Tensor("float32", data, [data.length / columns, columns])
  const sessions = new Map<string, InferenceSession>()
  const session = async (key: string, graph: () => Graph) => {
    const known = sessions.get(key)
    if (known !== undefined) return known
    const file = join(folder, `${key}.onnx`)
    writeFileSync(file, encode(graph()))
    const created = await ort.InferenceSession.create(file, { intraOpNumThreads: 1 })
    sessions.set(key, created)
    return created
  }

  const { embedding, hidden: width, layers } = model.facts
  const stored = weights(embedding.tensor)
  const bytes = readFileSync(stored.range.file).subarray(stored.range.offset, stored.range.offset + stored.range.length)
  if (stored.dtype !== "bf16" && stored.dtype !== "f16" && stored.dtype !== "f32") throw new Error(stored.dtype)
  const table = decodeFloats(stored.dtype, bytes)

  const chain = async (
    ids: ReadonlyArray<number>,
    output: "logits" | "token",
    rows: ReadonlyArray<number>
  ): Promise<Pass> => {
    const tokens = ids.length
    let x: Float32Array = Float32Array.from(
      { length: tokens * width },
      (_, at) =>
        Math.fround(
          (table[(ids[Math.floor(at / width)] ?? 0) * width + at % width] ?? 0) * Math.fround(embedding.multiplier)
        )
    )
    const hidden = [x]
    const keys: Array<Float32Array> = []
    const values: Array<Float32Array> = []
    const states: Array<Float32Array> = []
    let last: Pass["last"] = new Float32Array()
    for (const [index, facts] of layers.entries()) {
      const isLast = index === layers.length - 1
      /** Runs the layer's last part on what it takes beside `rows`. */
      const end = async (part: InferenceSession, feeds: Readonly<Record<string, Tensor>>) => {
        const asked = new ort.Tensor("int64", BigInt64Array.from(rows, BigInt), [rows.length])
        const results = await part.run(isLast ? { ...feeds, rows: asked } : feeds)
        const result = results[isLast ? output : "hidden_out"]?.data
        if (isLast) {
          last = result instanceof BigInt64Array ? result : floats(result)
        } else {
          x = floats(result)
          hidden.push(x)
        }
        return results
      }
      if (facts.kind === "convolution") {
        const { stateRows, stateWidth } = facts
        const conv = await session(`conv_${index}_${isLast ? output : ""}`, () => model.conv(index, weights, output))
        const state = f32(new Float32Array(stateRows * stateWidth), stateWidth)
        const results = await end(conv, { hidden: f32(x, width), state })
        states.push(floats(results["state_out"]?.data))
        continue
      }
      const { cacheWidth, queryWidth, window } = facts
      const tables = tablesOf(model, facts, tokens)
      const pre = await session(`pre_${index}`, () => model.pre(index, weights))
      const { k, q, v } = await pre.run({
        hidden: f32(x, width),
        ...(tables === undefined ? {} : { cos: f32(tables.cos, tables.half), sin: f32(tables.sin, tables.half) })
      })
      keys.push(floats(k?.data))
      values.push(floats(v?.data))
      const cache = await session(`cache_${index}`, () => model.cache(index, weights))
      const { attended } = await cache.run({
        q: f32(floats(q?.data), queryWidth),
        K: f32(floats(k?.data), cacheWidth),
        V: f32(floats(v?.data), cacheWidth),
        mask: f32(maskOf(tokens, window), tokens)
      })
      const post = await session(`post_${index}_${isLast ? output : ""}`, () => model.post(index, weights, output))
      await end(post, { attended: f32(floats(attended?.data), queryWidth), hidden: f32(x, width) })
    }
    return { hidden, keys, values, states, last }
  }
  try {
    return await use(chain)
  } finally {
    await Promise.all([...sessions.values()].map((open) => open.release()))
    rmSync(folder, { recursive: true })
  }
}
