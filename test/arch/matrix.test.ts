import { assert, describe, it } from "@effect/vitest"
import { Result } from "effect"
import type { Model } from "../../src/arch/Architecture.ts"
import { find } from "../../src/arch/registry.ts"
import { check } from "../../src/onnx/Check.ts"
import type { Graph } from "../../src/onnx/Graph.ts"
import { storedOf } from "../../src/tensor/Slice.ts"
import { type Array32, type Case, caseNames, finder, readCase } from "./Case.ts"
import { withChain } from "./Chain.ts"

const read = ({ config }: Case): Model => {
  const family = find(config.model_type)
  assert.isDefined(family, `a family reads ${config.model_type}`)
  return Result.getOrThrowWith(family.read(config), (problems) => new Error(JSON.stringify(problems)))
}

const weightsOf = (example: Case) => finder(example.tensors, read(example).tensors)

const graphsOf = (model: Model, example: Case): ReadonlyArray<Graph> => {
  const weights = weightsOf(example)
  return model.facts.layers.flatMap((facts, layer) =>
    facts.kind === "convolution"
      ? [model.conv(layer, weights, "logits"), model.conv(layer, weights, "token")]
      : [
        model.pre(layer, weights),
        model.cache(layer, weights),
        model.post(layer, weights, "logits"),
        model.post(layer, weights, "token")
      ]
  )
}

const shapes = (tensors: Iterable<{ readonly name: string; readonly shape: ReadonlyArray<number> }>) =>
  Object.fromEntries(Array.from(tensors, ({ name, shape }) => [name, shape]))

/** The planes of an array, along its first dimension. */
const planes = ({ data, shape: [count = 0] }: Array32): ReadonlyArray<Float32Array> =>
  Array.from({ length: count }, (_, at) => data.subarray(at * data.length / count, (at + 1) * data.length / count))

const close = (found: ArrayLike<number>, expected: ArrayLike<number>, tolerance: number, what: string) => {
  assert.strictEqual(found.length, expected.length, what)
  let worst = 0
  for (let at = 0; at < expected.length; at++) {
    const error = Math.abs((found[at] ?? NaN) - (expected[at] ?? NaN))
    if (!(error <= worst)) worst = error
  }
  assert.isAtMost(worst, tolerance, `${what}: largest difference`)
}

const numbers = (last: Float32Array | BigInt64Array): Float32Array => {
  assert.instanceOf(last, Float32Array)
  return last
}

/** Names of values that `name` is made from. */
const ancestors = ({ nodes }: Graph, name: string): ReadonlySet<string> => {
  const seen = new Set<string>([name])
  for (const { inputs, outputs } of nodes.toReversed()) {
    if (outputs.some((output) => seen.has(output))) inputs.forEach((input) => seen.add(input))
  }
  return seen
}

describe.each(caseNames)("%s", (name) => {
  const example = readCase(name)
  const model = read(example)
  const { layers } = model.facts

  it("expects the tensors of the checkpoint, no more and no fewer", () => {
    assert.deepStrictEqual(shapes(storedOf(model.tensors)), shapes(example.tensors.values()))
    assert.strictEqual(new Set(model.tensors.map(({ name }) => name)).size, model.tensors.length)
  })

  it("gives sound graphs with the parts' names and the checkpoint's weights", () => {
    for (const graph of graphsOf(model, example)) {
      assert.deepStrictEqual(check(graph), [], graph.name)
      assert.strictEqual(graph.name, `${graph.metadata["part"]?.toLowerCase()}_${graph.metadata["layer"]}`)
      assert.strictEqual(graph.metadata["family"], model.facts.family)
      for (const { data, name } of graph.initializers) {
        if (data.kind === "external") assert.isTrue(model.tensors.some((tensor) => tensor.name === name), name)
      }
    }
  })

  it("ends in a token made from a value named logits", () => {
    const part = layers.at(-1)?.kind === "convolution" ? "conv" : "post"
    const { nodes, outputs } = model[part](layers.length - 1, weightsOf(example), "token")
    assert.deepStrictEqual(
      outputs.filter(({ name }) => name !== "state_out").map(({ dtype, name, shape }) => [name, dtype, shape]),
      [["token", "i64", ["rows"]]]
    )
    assert.deepStrictEqual([nodes.at(-1)?.op, nodes.at(-1)?.inputs], ["ArgMax", ["logits"]])
  })

  it("uses every expected tensor except the embedding in some graph", () => {
    const used = new Set(graphsOf(model, example).flatMap(({ initializers }) => initializers.map(({ name }) => name)))
    const unused = model.tensors.map(({ name }) => name).filter((name) => !used.has(name))
    assert.deepStrictEqual(
      unused,
      model.facts.head === model.facts.embedding.tensor ? [] : [model.facts.embedding.tensor]
    )
  })

  it("has q and k from the one last node of PRE, after v", () => {
    for (const [index, { kind }] of layers.entries()) {
      if (kind === "convolution") continue
      const graph = model.pre(index, weightsOf(example))
      const last = graph.nodes.at(-1)
      assert.deepStrictEqual([last?.op, last?.outputs], ["Split", ["q", "k"]])
      const maker = graph.nodes.find(({ outputs }) => outputs.includes("v"))
      assert.strictEqual(maker?.op, "Split")
      assert.isTrue(maker?.outputs.some((output) => ancestors(graph, "q").has(output)))
    }
  })

  it("reads the cache after q: a host has its newest rows written while the graph runs", () => {
    const views = new Set(["Unsqueeze", "Reshape"])
    for (const [index, { kind }] of layers.entries()) {
      if (kind === "convolution") continue
      const graph = model.cache(index, weightsOf(example))
      const readers = graph.nodes.filter(({ op, outputs: [output = ""] }) => {
        const from = ancestors(graph, output)
        return !views.has(op) && (from.has("K") || from.has("V"))
      })
      assert.isAbove(readers.length, 0)
      for (const { name, outputs: [output = ""] } of readers) assert.isTrue(ancestors(graph, output).has("q"), name)
    }
  })

  it("computes what transformers computes, part by part", async () => {
    const { array, prompts: { long, short }, tolerance } = example
    await withChain(model, weightsOf(example), example, async (chain) => {
      const pass = await chain(short.ids, "logits", [...short.ids.keys()])
      const hidden = planes(array("hidden_short"))
      pass.hidden.forEach((found, layer) =>
        close(found, hidden[layer] ?? [], tolerance, `hidden before layer ${layer}`)
      )
      assert.deepStrictEqual(Array.from(pass.hidden[0] ?? []), Array.from(hidden[0] ?? []))
      const keys = planes(array("keys_short"))
      const values = planes(array("values_short"))
      assert.strictEqual(keys.length, pass.keys.length)
      keys.forEach((expected, at) => {
        close(pass.keys[at] ?? [], expected, tolerance, `keys of attention layer ${at}`)
        close(pass.values[at] ?? [], values[at] ?? [], tolerance, `values of attention layer ${at}`)
      })
      const convolutions = layers.flatMap((layer) => layer.kind === "convolution" ? [layer] : [])
      assert.deepStrictEqual([keys.length, pass.states.length], [
        layers.length - convolutions.length,
        convolutions.length
      ])
      const states = convolutions.length === 0 ? [] : planes(array("conv_short"))
      assert.strictEqual(states.length, convolutions.length)
      states.forEach((columns, at) => {
        const { stateRows = 0, stateWidth = 0 } = convolutions[at] ?? {}
        // transformers keeps a column for the last token's own place too: `[width × (rows + 1)]`, the oldest first
        const rows = Float32Array.from(
          { length: stateRows * stateWidth },
          (_, to) => columns[(to % stateWidth) * (stateRows + 1) + Math.floor(to / stateWidth) + 1] ?? NaN
        )
        close(pass.states[at] ?? [], rows, tolerance, `state of convolution layer ${at}`)
      })
      close(numbers(pass.last), array("logits_short").data, tolerance, "logits of the short prompt")
      const { last } = await chain(long.ids, "logits", [...long.ids.keys()])
      close(numbers(last), array("logits_long").data, tolerance, "logits of the long prompt")
      // Rows that are asked for come in that order, and only they.
      const some = await chain(short.ids, "logits", [6, 2])
      const logits = array("logits_short").data
      const { vocabulary } = model.facts
      const asked = [6, 2].flatMap((row) => [...logits.subarray(row * vocabulary, (row + 1) * vocabulary)])
      close(numbers(some.last), asked, tolerance, "logits of two rows")
    })
  })

  it("continues both prompts with transformers' greedy ids", async () => {
    await withChain(model, weightsOf(example), example, async (chain) => {
      for (const { ids, new_ids } of [example.prompts.short, example.prompts.long]) {
        const all = [...ids]
        for (const _ of new_ids) {
          const { last } = await chain(all, "token", [all.length - 1])
          assert.strictEqual(last.length, 1)
          all.push(Number(last[0]))
        }
        assert.deepStrictEqual(all.slice(ids.length), [...new_ids])
      }
    })
  })
})
