import { Builder, type Ref } from "../../onnx/Builder.ts"
import type { Expected, Model, ModelFacts } from "../Architecture.ts"
import type { Block, Draft } from "./Block.ts"
import type { AttentionLayer, Layer } from "./Layer.ts"

/** What stands around the layers of a decoder. */
export interface Ends {
  readonly finalNorm: Block
  /** gives a value named `logits` */
  readonly head: Block
}

type Part = "PRE" | "CACHE" | "POST" | "CONV"

const TOKENS = "tokens"
const CONTEXT = "context"
const ROWS = "rows"

/** Each tensor once: a tied head names the embedding again. */
const distinct = (tensors: ReadonlyArray<Expected>): ReadonlyArray<Expected> => [
  ...new Map(tensors.map((tensor) => [tensor.name, tensor])).values()
]

/** The model made of layers: graphs with the parts' inputs, outputs and names, as `Model` says. */
export const decoder = (
  facts: ModelFacts,
  layers: ReadonlyArray<Layer>,
  { finalNorm, head }: Ends
): Omit<Model, "warnings"> => {
  const { embedding, family, hidden, ropes, vocabulary } = facts

  const last = layers.length - 1

  const layerAt = (index: number): Layer => {
    const layer = layers[index]
    if (layer === undefined) throw new Error(`${family} has ${layers.length} layers, there is no layer ${index}`)
    return layer
  }

  const draw = (part: Part, index: number, values: (graph: Builder) => Readonly<Record<string, Ref>>) => {
    const graph = new Builder(`${part.toLowerCase()}_${index}`)
    graph.metadata("family", family)
    graph.metadata("layer", String(index))
    graph.metadata("part", part)
    for (const [name, ref] of Object.entries(values(graph))) graph.output(name, ref)
    return graph.build()
  }

  const part = (
    part: Part,
    index: number,
    values: (graph: Builder, layer: AttentionLayer) => Readonly<Record<string, Ref>>
  ) => {
    const layer = layerAt(index)
    if ("conv" in layer) throw new Error(`layer ${index} of ${family} is a convolution, it has no ${part}`)
    return draw(part, index, (graph) => values(graph, layer))
  }

  /** What follows the last layer. */
  const end = (draft: Draft, hidden: Ref, output: "token" | "logits"): Readonly<Record<string, Ref>> => {
    const logits = head.on(draft, finalNorm.on(draft, hidden))
    return output === "logits" ? { logits } : { token: draft.graph.argMax(logits) }
  }

  const anglesOf = (graph: Builder, { facts }: AttentionLayer) => {
    const rope = ropes.find(({ name }) => name === facts.rope)
    if (rope === undefined) return undefined
    const half = rope.inverseFrequencies.length
    return {
      cos: graph.input("cos", "f32", [TOKENS, half]),
      sin: graph.input("sin", "f32", [TOKENS, half]),
      rotary: 2 * half
    }
  }

  return {
    facts,
    tensors: distinct([
      { name: embedding.tensor, shape: [vocabulary, hidden] },
      ...layers.flatMap(({ tensors }) => tensors),
      ...finalNorm.tensors,
      ...head.tensors
    ]),
    pre: (index, weights) =>
      part("PRE", index, (graph, layer) => {
        const input = graph.input("hidden", "f32", [TOKENS, hidden])
        const { k, q, v } = layer.pre({ graph, weights }, input, anglesOf(graph, layer))
        return { q, k, v }
      }),
    cache: (index, weights) =>
      part("CACHE", index, (graph, layer) => {
        const { cacheWidth, queryWidth } = layer.facts
        return {
          attended: layer.cache({ graph, weights }, {
            q: graph.input("q", "f32", [TOKENS, queryWidth]),
            keys: graph.input("K", "f32", [CONTEXT, cacheWidth]),
            values: graph.input("V", "f32", [CONTEXT, cacheWidth]),
            mask: graph.input("mask", "f32", [TOKENS, CONTEXT])
          })
        }
      }),
    post: (index, weights, output) =>
      part("POST", index, (graph, layer) => {
        const draft = { graph, weights }
        const attended = graph.input("attended", "f32", [TOKENS, layer.facts.queryWidth])
        const input = graph.input("hidden", "f32", [TOKENS, hidden])
        if (index < last) return { hidden_out: layer.post(draft, attended, input) }
        // Rows are taken before the projection, not before the norm: what follows works on each token by itself, and prefill wants one.
        const rows = graph.input("rows", "i64", [ROWS])
        return end(draft, layer.post(draft, graph.gather(attended, rows), graph.gather(input, rows)), output)
      }),
    conv: (index, weights, output) => {
      const layer = layerAt(index)
      if (!("conv" in layer)) throw new Error(`layer ${index} of ${family} is attention, it has no CONV`)
      const { stateRows, stateWidth } = layer.facts
      return draw("CONV", index, (graph) => {
        const draft = { graph, weights }
        const input = graph.input("hidden", "f32", [TOKENS, hidden])
        const before = graph.input("state", "f32", [stateRows, stateWidth])
        const rows = index < last ? undefined : graph.input("rows", "i64", [ROWS])
        const made = layer.conv(draft, input, before, rows)
        const values = rows === undefined ? { hidden_out: made.hidden } : end(draft, made.hidden, output)
        return { ...values, state_out: made.state }
      })
    }
  }
}
