import type { Block } from "./Block.ts"

/** `x / rms(x) · weight` with `<name>.weight [size]`. */
export const rmsNorm = (name: string, size: number, epsilon: number): Block => ({
  tensors: [{ name: `${name}.weight`, shape: [size] }],
  on: ({ graph, weights }, x) => graph.rmsNorm(x, graph.weight(weights(`${name}.weight`)), epsilon)
})

/** `x / rms(x) · (1 + weight)`: the gemmas store what the weight is more than 1. Source: transformers 5.23, `GemmaRMSNorm`. */
export const offsetNorm = (name: string, size: number, epsilon: number): Block => ({
  tensors: [{ name: `${name}.weight`, shape: [size] }],
  on: ({ graph, weights }, x) => {
    const stored = graph.f32(graph.weight(weights(`${name}.weight`)))
    return graph.rmsNorm(x, graph.add(stored, graph.constant("one", "f32", [], [1])), epsilon)
  }
})

/** `(x − mean) / deviation · weight + bias` with `<name>.weight` and `<name>.bias`, both `[size]`. */
export const layerNorm = (name: string, size: number, epsilon: number): Block => ({
  tensors: [{ name: `${name}.weight`, shape: [size] }, { name: `${name}.bias`, shape: [size] }],
  on: ({ graph, weights }, x) =>
    graph.layerNorm(x, graph.weight(weights(`${name}.weight`)), graph.weight(weights(`${name}.bias`)), epsilon)
})

/** A norm over each head by itself: `[tokens × heads·size]`, the norm's weight `[size]`. */
export const perHead = (norm: Block, heads: number, size: number): Block => ({
  tensors: norm.tensors,
  on: (draft, x) => {
    const { graph } = draft
    return graph.reshape(norm.on(draft, graph.reshape(x, [0, heads, size])), [0, heads * size])
  }
})
