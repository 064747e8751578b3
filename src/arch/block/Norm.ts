import type { Block } from "./Block.ts"

/** `x / rms(x) · weight` with `<name>.weight [size]`. */
export const rmsNorm = (name: string, size: number, epsilon: number): Block => ({
  tensors: [{ name: `${name}.weight`, shape: [size] }],
  on: ({ graph, weights }, x) => graph.rmsNorm(x, graph.weight(weights(`${name}.weight`)), epsilon)
})

/** A norm over each head by itself: `[tokens × heads·size]`, the norm's weight `[size]`. */
export const perHead = (norm: Block, heads: number, size: number): Block => ({
  tensors: norm.tensors,
  on: (draft, x) => {
    const { graph } = draft
    return graph.reshape(norm.on(draft, graph.reshape(x, [0, heads, size])), [0, heads * size])
  }
})
