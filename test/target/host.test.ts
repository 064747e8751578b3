import * as NodeServices from "@effect/platform-node/NodeServices"
import { assert, layer } from "@effect/vitest"
import { Effect, FileSystem, Layer } from "effect"
import { attribute, Builder } from "../../src/onnx/Builder.ts"
import { check } from "../../src/onnx/Check.ts"
import type { Graph } from "../../src/onnx/Graph.ts"
import { encode } from "../../src/onnx/OnnxFile.ts"
import { layoutBlob } from "../../src/quantize/Blob.ts"
import { quantizeGraph } from "../../src/quantize/Quantizer.ts"
import { hostLayer } from "../../src/target/host.ts"
import { withAccuracy } from "../../src/target/lower/nbits.ts"
import { lower } from "../../src/target/lower/registry.ts"
import { Target } from "../../src/target/Target.ts"
import { Runtime, type Values } from "../../src/verify/Runtime.ts"

/** xorshift: the same numbers on every machine. */
const numbers = (seed: number) => {
  let state = seed
  return () => {
    state ^= state << 13
    state ^= state >>> 17
    state ^= state << 5
    return (state >>> 0) / 2 ** 32
  }
}

interface Case {
  readonly name: string
  readonly columns: number
  readonly bits: 4 | 8
  readonly bias: boolean
}

const rows = [24, 8, 16] as const

/** Three products of one input side by side, quantised: graph, and the bytes of its blob and of the float weights. */
const sample = ({ bias, bits, columns }: Case) => {
  const next = numbers(columns * 31 + bits)
  const builder = new Builder("sample")
  const x = builder.input("x", "f32", ["tokens", columns])
  const biases = Float32Array.from({ length: rows.reduce((a, b) => a + b, 0) }, () => next() - 0.5)
  let offset = 0
  const products = rows.map((count, i) => {
    const weight = {
      name: `w${i}`,
      dtype: "f32",
      shape: [count, columns],
      range: { file: "model", offset: 0, length: 4 * count * columns }
    } as const
    const vector = {
      name: `b${i}`,
      dtype: "f32",
      shape: [count],
      range: { file: "bias.bin", offset: 4 * offset, length: 4 * count }
    } as const
    offset += count
    return builder.linear(x, weight, bias ? vector : undefined)
  })
  builder.output("y", builder.concat(products, 1))
  const layout = layoutBlob(rows.map((count, i) => ({
    name: `w${i}`,
    rows: count,
    columns,
    form: { bits, block: 32, scales: "f16", zeros: "middle", minimum: false, ordered: false }
  })))
  const blob = Uint8Array.from({ length: layout.length }, () => Math.floor(next() * 256))
  for (const { byte, length, offset } of layout.zeros) blob.fill(byte, offset, offset + length)
  const view = new DataView(blob.buffer)
  for (const { scales: { length, offset } } of layout.weights) {
    for (let at = 0; at < length; at += 2) view.setFloat16(offset + at, (next() - 0.5) / 16, true)
  }
  return { graph: quantizeGraph(builder.build(), { location: "blob.bin", layout }), blob, biases }
}

const cases: ReadonlyArray<Case> = ([4, 8] as const).flatMap((bits) =>
  [64, 40].flatMap((columns) =>
    [false, true].map((bias) => ({
      name: `${bits} bits, ${columns} columns${bias ? ", biases" : ""}`,
      columns,
      bits,
      bias
    }))
  )
)

const operators = (graph: Graph) => graph.nodes.map(({ op }) => op).sort()

const write = Effect.fnUntraced(function*({ biases, blob }: ReturnType<typeof sample>) {
  const fs = yield* FileSystem.FileSystem
  const folder = yield* fs.makeTempDirectoryScoped()
  yield* fs.makeDirectory(`${folder}/weights`)
  yield* fs.writeFile(`${folder}/blob.bin`, blob)
  yield* fs.writeFile(`${folder}/weights/bias.bin`, new Uint8Array(biases.buffer))
  return folder
})

const input = (columns: number): Values => {
  const next = numbers(7)
  return { dtype: "f32", shape: [5, columns], data: Float32Array.from({ length: 5 * columns }, () => next() * 2 - 1) }
}

const evaluate = Effect.fnUntraced(function*(graph: Graph, folder: string, x: Values) {
  const runtime = yield* Runtime
  const session = yield* runtime.load({ name: graph.name, model: encode(graph), folder, threads: 1, accuracy: 1 })
  const { y } = yield* session.run({ x })
  return Array.from(y?.data ?? [], Number)
})

const largest = (a: ReadonlyArray<number>, b: ReadonlyArray<number>): number => {
  assert.strictEqual(a.length, b.length)
  return Math.max(...a.map((value, i) => Math.abs(value - (b[i] ?? NaN))))
}

// float32 sums of 64 products of numbers around 1, added in another order
const tolerance = 5e-6

// int8 activations move a product by up to 0.4 % of the largest, and sums of random signs partly cancel
const fastTolerance = 0.02

layer(Layer.mergeAll(Runtime.layer, NodeServices.layer), { excludeTestServices: true })("lower", (it) => {
  it.effect.each(cases)("keeps what is computed: $name", (test) =>
    Effect.gen(function*() {
      const made = sample(test)
      const folder = yield* write(made)
      const lowered = lower(made.graph)
      assert.deepStrictEqual(check(lowered, { matMulNBits: true }), [])
      assert.deepStrictEqual(
        operators(lowered),
        test.bias ? ["Cast", "Concat", "MatMulNBits"] : ["Cast", "MatMulNBits"]
      )
      const x = input(test.columns)
      const before = yield* evaluate(made.graph, folder, x)
      const after = yield* evaluate(withAccuracy(lowered, 1), folder, x)
      assert.isAbove(Math.max(...before.map(Math.abs)), 0.5)
      assert.isBelow(largest(before, after), tolerance)
      const fast = yield* evaluate(lowered, folder, x)
      assert.isBelow(largest(before, fast), fastTolerance * Math.max(...before.map(Math.abs)))
    }).pipe(Effect.scoped))

  it.effect("leaves products of different bits apart, side by side", () =>
    Effect.sync(() => {
      const { graph } = sample({ name: "", columns: 64, bits: 4, bias: false })
      const mixed: Graph = {
        ...graph,
        initializers: graph.initializers.map((initializer) =>
          initializer.name === "w1.codes"
            ? { ...initializer, data: { kind: "external", location: "other.bin", offset: 0, length: 8 * 32 } }
            : initializer
        )
      }
      const lowered = lower(mixed)
      assert.deepStrictEqual(check(lowered, { matMulNBits: true }), [])
      assert.strictEqual(operators(lowered).filter((op) => op === "MatMulNBits").length, 3)
    }))

  it.effect("changes nothing the second time", () =>
    Effect.sync(() => {
      const once = lower(sample({ name: "", columns: 64, bits: 4, bias: true }).graph)
      assert.deepStrictEqual(lower(once), once)
    }))

  it.effect("leaves a graph without codes as it is", () =>
    Effect.sync(() => {
      const builder = new Builder("plain")
      const x = builder.input("x", "f32", ["tokens", 4])
      builder.output("y", builder.op("Softmax", [x], { axis: attribute.int(-1) }))
      const graph = builder.build()
      assert.deepStrictEqual(lower(graph), graph)
    }))
})

layer(Layer.mergeAll(hostLayer, Runtime.layer, NodeServices.layer), { excludeTestServices: true })(
  "hostLayer",
  (it) => {
    it.effect("puts every weight once into the archive, and the graphs read it there", () =>
      Effect.gen(function*() {
        const fs = yield* FileSystem.FileSystem
        const target = yield* Target
        const test = { name: "", columns: 64, bits: 4, bias: true } as const
        const made = sample(test)
        const folder = yield* write(made)
        const parts = yield* Effect.forEach(
          ["group_pre_0", "single_pre_0"],
          (name) => target.compile({ name, graph: made.graph, folder })
        )
        const entries = yield* target.link("layer_0", parts)
        assert.deepStrictEqual(entries.map(({ name }) => name), [
          "manifest.json",
          "group_pre_0.onnx",
          "single_pre_0.onnx",
          "weights.bin"
        ])
        const out = yield* fs.makeTempDirectoryScoped()
        for (const { content, name } of entries) {
          const chunks: Array<Uint8Array> = content.kind === "bytes" ? [content.bytes] : []
          if (content.kind === "ranges") {
            for (const range of content.ranges) {
              if ("zeros" in range) chunks.push(new Uint8Array(range.zeros))
              else {
                const file = yield* fs.readFile(range.file)
                chunks.push(file.subarray(range.offset, range.offset + range.length))
              }
            }
          }
          yield* fs.writeFile(`${out}/${name}`, Buffer.concat(chunks))
        }
        const { size } = yield* fs.stat(`${out}/weights.bin`)
        // codes, scales and biases once, and less than 64 bytes between runs
        assert.isBelow(Number(size), 48 * 32 + 48 * 4 + 48 * 4 + 3 * 64)
        const runtime = yield* Runtime
        const x = input(64)
        const session = yield* runtime.load({
          name: "group_pre_0",
          model: yield* fs.readFile(`${out}/group_pre_0.onnx`),
          folder: out,
          threads: 1
        })
        const { y } = yield* session.run({ x })
        const before = yield* evaluate(made.graph, folder, x)
        // int8 activations: 0.7 % of the largest activation in each of 64 products
        assert.isBelow(largest(before, Array.from(y?.data ?? [], Number)), 0.05)
        const manifest: unknown = JSON.parse(yield* fs.readFileString(`${out}/manifest.json`))
        assert.deepInclude(manifest, {
          format: 1,
          layer: "layer_0",
          target: "host",
          weights: { file: "weights.bin", bytes: Number(size) }
        })
      }).pipe(Effect.scoped))

    it.effect("names the part whose graph is broken", () =>
      Effect.gen(function*() {
        const target = yield* Target
        const { graph } = sample({ name: "", columns: 64, bits: 4, bias: false })
        const error = yield* Effect.flip(
          target.compile({ name: "single_post_7", graph: { ...graph, inputs: [] }, folder: "/nowhere" })
        )
        assert.strictEqual(error.part, "single_post_7")
        assert.strictEqual(error.retry, "never")
        assert.include(error.message, "inputs that are defined before")
      }))
  }
)
