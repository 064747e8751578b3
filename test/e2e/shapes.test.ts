import { assert, describe, it, layer } from "@effect/vitest"
import { Effect, Layer } from "effect"
import { join } from "node:path"
import type { LayerFacts, Model } from "../../src/arch/Architecture.ts"
import { find } from "../../src/arch/registry.ts"
import { encode } from "../../src/onnx/OnnxFile.ts"
import { CompileRequest } from "../../src/plan/Request.ts"
import { groupPositions, singlePositions } from "../../src/plan/Shapes.ts"
import { openArchive } from "../../src/run/Archive.ts"
import { rotaryTables } from "../../src/run/Tables.ts"
import { Compiler } from "../../src/stage/Compiler.ts"
import { servicesFor } from "../../src/stage/Services.ts"
import { hostLayer } from "../../src/target/host.ts"
import { Target } from "../../src/target/Target.ts"
import { decodeFloats } from "../../src/tensor/Float.ts"
import { Runtime, type Session, type Values } from "../../src/verify/Runtime.ts"
import { readCase } from "../arch/Case.ts"
import { folder, model, Platform } from "./Build.ts"

/** This machine, saying that it wants one program per shape. */
const FixedTarget = Layer.effect(
  Target,
  Effect.map(Target, (host) => Target.of({ ...host, facts: { ...host.facts, name: "fixed", shapes: "fixed" } }))
).pipe(Layer.provide(hostLayer))

const sizes = { context: 64, group: 16, mask: 32 } as const

/** Compiles a case for the fixed target, and gives what is in its archives. */
const compiled = Effect.fnUntraced(function*(name: string, mask: number) {
  const output = yield* folder
  const request = CompileRequest.make({
    modelPath: model(name),
    output,
    maxNumTokens: sizes.context,
    languageGroupSize: sizes.group,
    futureTokenMaskSize: mask,
    returnLogits: true,
    verify: "none"
  })
  const services = Layer.merge(servicesFor(request), FixedTarget)
  yield* Effect.provide(
    Effect.flatMap(Compiler, (compiler) => compiler.compile(request)),
    Layer.provide(Compiler.layer, services)
  )
  const cache = yield* folder
  return yield* Effect.forEach(
    Array.from({ length: layersOf(name).length }, (_, i) => i),
    (i) =>
      Effect.map(
        openArchive(join(output, `sima_files/mpk/layer_${i}.tar.gz`), cache),
        ({ graphs }) => ({ graphs, cache })
      )
  )
})

const modelOf = (name: string): Model => {
  const { config } = readCase(name)
  const read = find(config.model_type)?.read(config)
  if (read === undefined || read._tag === "Failure") throw new Error(`${name} is not read`)
  return read.success
}

const layersOf = (name: string): ReadonlyArray<LayerFacts & { readonly kind: "attention" }> =>
  modelOf(name).facts.layers.flatMap((facts) => facts.kind === "attention" ? [facts] : [])

const f32 = (data: Float32Array, columns: number): Values => ({
  dtype: "f32",
  shape: [data.length / columns, columns],
  data
})

/** 0 where one of `tokens` tokens from `position` sees a position below `context`, -inf elsewhere. */
const maskOf = (position: number, tokens: number, context: number, window: number | undefined): Float32Array =>
  Float32Array.from({ length: tokens * context }, (_, at) => {
    const back = position + Math.floor(at / context) - at % context
    return back >= 0 && back < (window ?? Infinity) ? 0 : -Infinity
  })

const floats = (of: Readonly<Record<string, Values>>, value: string): Float32Array => {
  const data = of[value]?.data
  if (!(data instanceof Float32Array)) throw new Error(`${value} is no f32`)
  return data
}

/**
 * A device that has fixed programs only: caches of the whole context, passes padded to the group, and for each pass the one cache
 * program that serves its position.
 */
const device = Effect.fnUntraced(function*(name: string, archives: Effect.Success<ReturnType<typeof compiled>>) {
  const runtime = yield* Runtime
  const { facts } = modelOf(name)
  const layers = layersOf(name)
  const stored = readCase(name).tensors.get(facts.embedding.tensor)
  if (stored === undefined) throw new Error("no embedding")
  const { readFileSync } = yield* Effect.promise(() => import("node:fs"))
  const { length, offset } = stored.range
  const table = decodeFloats("bf16", readFileSync(stored.range.file).subarray(offset, offset + length))
  const sessions = new Map<string, Session>()
  const session = Effect.fnUntraced(function*(layer: number, program: string) {
    const known = sessions.get(program)
    if (known !== undefined) return known
    const graph = archives[layer]?.graphs.get(program)
    if (graph === undefined) return yield* Effect.die(new Error(`no program ${program}`))
    const symbolic = [...graph.inputs, ...graph.outputs].flatMap(({ shape }) =>
      shape.filter((dim) => typeof dim === "string")
    )
    assert.deepStrictEqual(symbolic, [], program)
    const loaded = yield* runtime.load({
      name: program,
      model: encode(graph),
      folder: archives[layer]?.cache ?? "",
      threads: 1,
      accuracy: 1
    })
    sessions.set(program, loaded)
    return loaded
  })
  const keys = layers.map(({ cacheWidth }) => new Float32Array(sizes.context * cacheWidth))
  const values = layers.map(({ cacheWidth }) => new Float32Array(sizes.context * cacheWidth))
  /** Logits of `ids`, which begin at `position`. */
  return Effect.fnUntraced(
    function*(ids: ReadonlyArray<number>, position: number, phase: "group" | "single", mask: number) {
      const tokens = phase === "group" ? sizes.group : 1
      let hidden = Float32Array.from({ length: tokens * facts.hidden }, (_, at) => {
        const id = ids[Math.floor(at / facts.hidden)]
        return id === undefined ? 0 : (table[id * facts.hidden + at % facts.hidden] ?? 0)
      })
      const programs = phase === "group" ? groupPositions({ ...sizes, mask }) : singlePositions({ ...sizes, mask })
      const serving = phase === "group"
        ? programs.findLast((program) => program.position <= position)
        : programs.find((program) => program.position >= position)
      if (serving === undefined) return yield* Effect.die(new Error(`no program serves ${position}`))
      let logits = new Float32Array()
      for (const [i, { cacheWidth, queryWidth, rope, window }] of layers.entries()) {
        const frequencies = facts.ropes.find((one) => one.name === rope)?.inverseFrequencies ?? []
        const cos = new Float32Array(tokens * frequencies.length), sin = new Float32Array(tokens * frequencies.length)
        rotaryTables(frequencies, 1, position, tokens, cos, sin)
        const angles = { cos: f32(cos, frequencies.length), sin: f32(sin, frequencies.length) }
        const pre = yield* (yield* session(i, `${phase}_pre_${i}`)).run({
          hidden: f32(hidden, facts.hidden),
          ...angles
        })
        // rows of padding behind the prompt are overwritten by the tokens that come there
        keys[i]?.set(floats(pre, "k"), position * cacheWidth)
        values[i]?.set(floats(pre, "v"), position * cacheWidth)
        const context = serving.context
        const { attended } = yield* (yield* session(i, `${phase}_cache_${i}_${serving.position}`)).run({
          q: f32(floats(pre, "q"), queryWidth),
          K: f32((keys[i] ?? new Float32Array()).slice(0, context * cacheWidth), cacheWidth),
          V: f32((values[i] ?? new Float32Array()).slice(0, context * cacheWidth), cacheWidth),
          mask: f32(maskOf(position, tokens, context, window), context)
        })
        const feeds = { attended: attended ?? f32(new Float32Array(), 1), hidden: f32(hidden, facts.hidden) }
        const post = yield* session(i, `${phase}_post_${i}`)
        if (i < layers.length - 1) hidden = Float32Array.from(floats(yield* post.run(feeds), "hidden_out"))
        else {
          const rows = {
            dtype: "i64",
            shape: [tokens],
            data: BigInt64Array.from({ length: tokens }, (_, row) => BigInt(row))
          } as const
          logits = Float32Array.from(floats(yield* post.run({ ...feeds, rows }), "logits"))
        }
      }
      return logits.subarray(0, ids.length * facts.vocabulary)
    }
  )
})

const argMax = (row: Float32Array): number => row.indexOf(Math.max(...row))

layer(Layer.mergeAll(Platform, Runtime.layer))("programs of fixed shapes", (it) => {
  describe.each(["llama-tied-rope-llama3", "mistral-sliding"])("%s", (name) => {
    it.effect.each([16, 32])(
      "give transformers' logits and tokens, cache programs for %i positions",
      (mask) =>
        Effect.gen(function*() {
          const test = readCase(name)
          const archives = yield* compiled(name, mask)
          const cachePrograms = [...archives[0]?.graphs.keys() ?? []].filter((program) => program.includes("cache"))
          const ends = Array.from({ length: 64 / mask }, (_, i) => (i + 1) * mask - 1)
          assert.deepStrictEqual(
            cachePrograms.sort(),
            [
              ...ends.map((end) => `group_cache_0_${end + 1 - mask}`),
              ...ends.map((end) => `single_cache_0_${end}`)
            ].sort()
          )
          const run = yield* device(name, archives)
          const { ids, new_ids } = test.prompts.long
          const rows: Array<Float32Array> = []
          for (let position = 0; position < ids.length; position += sizes.group) {
            rows.push(yield* run(ids.slice(position, position + sizes.group), position, "group", mask))
          }
          const expected = test.array("logits_long")
          const found = rows.flatMap((row) => [...row])
          assert.strictEqual(found.length, expected.data.length)
          const worst = found.reduce((most, value, i) => Math.max(most, Math.abs(value - (expected.data[i] ?? NaN))), 0)
          assert.isAtMost(worst, test.tolerance)
          const vocabulary = expected.shape[1] ?? 0
          const made = [argMax(Float32Array.from(found.slice(-vocabulary)))]
          while (made.length < new_ids.length) {
            made.push(argMax(yield* run([made.at(-1) ?? 0], ids.length + made.length - 1, "single", mask)))
          }
          assert.deepStrictEqual(made, [...new_ids])
        })
    )
  })
})

describe("positions of cache programs", () => {
  it("stand where the published builds have them: context 2048, groups and masks of 128", () => {
    const at = { context: 2048, group: 128, mask: 128 }
    const group = groupPositions(at).map(({ position }) => position)
    const single = singlePositions(at).map(({ position }) => position)
    assert.deepStrictEqual([group.length, group[0], group[1], group.at(-1)], [16, 0, 128, 1920])
    assert.deepStrictEqual([single.length, single[0], single[1], single.at(-1)], [16, 127, 255, 2047])
  })

  it("are fewer with a larger mask, and never outside of the context", () => {
    assert.deepStrictEqual(groupPositions({ context: 1000, group: 128, mask: 300 }), [
      { position: 0, context: 384 },
      { position: 384, context: 768 },
      { position: 768, context: 1000 }
    ])
    assert.deepStrictEqual(singlePositions({ context: 1000, group: 128, mask: 300 }), [
      { position: 299, context: 300 },
      { position: 599, context: 600 },
      { position: 899, context: 900 },
      { position: 999, context: 1000 }
    ])
  })
})
