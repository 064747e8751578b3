import type { Builder, Ref } from "../../onnx/Builder.ts"
import { attribute } from "../../onnx/Builder.ts"
import type { CacheReader } from "./Attention.ts"
import type { Shape } from "./Config.ts"

const int = attribute.int

/** Dimensions `[0, keyValueHeads, headSize]`, computed from q. See `byHead`. */
const headDims = (graph: Builder, q: Ref, { headSize, keyValueHeads }: Shape): Ref => {
  const tokens = graph.op("Shape", [q], { start: int(0), end: int(1) })
  const heads = graph.constant("cache_heads", "i64", [2], [keyValueHeads, headSize])
  return graph.concat([graph.sub(tokens, tokens), heads], 0)
}

/**
 * Rows of the cache by key-value head, `[keyValueHeads × …]` in the given order of `[context, keyValueHeads, headSize]`. A host has
 * the newest rows written into the cache while the graph runs, so whatever reads it must come after q: the dimensions are made of q's.
 */
const byHead = (
  graph: Builder,
  rows: Ref,
  dims: Ref,
  { headSize, keyValueHeads }: Shape,
  order: ReadonlyArray<number>
): Ref => {
  const types = [{ dtype: rows.dtype, shape: [rows.shape[0] ?? "context", keyValueHeads, headSize] }]
  return graph.transpose(graph.op("Reshape", [rows, dims], {}, 1, { types }), order)
}

/**
 * Attention with sinks: `<name> [heads]` is one more score of each head, for a key that has no value, so that what is seen may count
 * less than 1 in all. Drawn with the queries of a key-value head as rows of one product: `Attention` has no such score.
 * Source: transformers 5.23, models/gpt_oss.
 */
export const attentionWithSinks = (shape: Shape, name: string, scale: number): CacheReader => {
  const { headSize, heads, keyValueHeads, queryWidth } = shape
  const shared = heads / keyValueHeads
  return {
    tensors: [{ name, shape: [heads] }],
    on: ({ graph, weights }, { keys, mask, q, values }) => {
      const last = graph.constant("last_axis", "i64", [1], [-1])
      const dims = headDims(graph, q, shape)
      // [keyValueHeads × tokens·shared × headSize], the heads of a token side by side
      const apart = graph.reshape(q, [0, keyValueHeads, shared, headSize])
      const scaled = graph.mul(apart, graph.constant("scale", "f32", [], [scale]))
      const queries = graph.reshape(graph.transpose(scaled, [1, 0, 2, 3]), [keyValueHeads, -1, headSize])
      const wide = graph.op("Expand", [
        graph.unsqueeze(mask, [1]),
        graph.constant("shared", "i64", [3], [1, shared, 1])
      ])
      const scores = graph.add(
        graph.matMul(queries, byHead(graph, keys, dims, shape, [1, 2, 0])),
        graph.op("Flatten", [wide], { axis: int(2) })
      )
      // a row that sees nothing has -inf throughout; with a bound below it gives 0, not NaN
      const bound = graph.constant("lowest", "f32", [], [-1e30])
      const most = graph.op("Max", [graph.op("ReduceMax", [scores, last]), bound])
      const powers = graph.op("Exp", [graph.sub(scores, most)])
      const perHead = (x: Ref, size: number) => graph.reshape(x, [keyValueHeads, -1, shared, size])
      const sinks = graph.reshape(graph.f32(graph.weight(weights(name))), [keyValueHeads, 1, shared, 1])
      const sink = graph.op("Exp", [graph.sub(sinks, perHead(most, 1))])
      const all = graph.add(perHead(graph.op("ReduceSum", [powers, last]), 1), sink)
      const seen = graph.matMul(powers, byHead(graph, values, dims, shape, [1, 0, 2]))
      const attended = graph.div(perHead(seen, headSize), all)
      return graph.reshape(graph.transpose(attended, [1, 0, 2, 3]), [-1, queryWidth])
    }
  }
}
