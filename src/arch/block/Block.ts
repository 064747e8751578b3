import type { Builder, Ref } from "../../onnx/Builder.ts"
import type { Expected, Weights } from "../Architecture.ts"

/** A graph being built, and the checkpoint whose weights it uses. */
export interface Draft {
  readonly graph: Builder
  readonly weights: Weights
}

/** A piece of a layer: the tensors it expects, and what it adds to a graph, `[tokens × in] → [tokens × out]`. */
export interface Block {
  readonly tensors: ReadonlyArray<Expected>
  readonly on: (draft: Draft, x: Ref) => Ref
}

/** `x · weightᵀ + bias` with `<name>.weight [out × in]` and, where `bias`, `<name>.bias [out]`. */
export const linear = (name: string, width: number, out: number, bias: boolean): Block => ({
  tensors: [
    { name: `${name}.weight`, shape: [out, width] },
    ...(bias ? [{ name: `${name}.bias`, shape: [out] }] : [])
  ],
  on: ({ graph, weights }, x) => graph.linear(x, weights(`${name}.weight`), bias ? weights(`${name}.bias`) : undefined)
})

/** The results of several blocks on one input, side by side. A target makes one matrix of linear ones. */
export const beside = (blocks: ReadonlyArray<Block>): Block => ({
  tensors: blocks.flatMap(({ tensors }) => tensors),
  on: (draft, x) => draft.graph.concat(blocks.map((block) => block.on(draft, x)), 1)
})

/** Blocks one after the other: each works on what the one before it gives. */
export const chain = (blocks: ReadonlyArray<Block>): Block => ({
  tensors: blocks.flatMap(({ tensors }) => tensors),
  on: (draft, x) => blocks.reduce((value, block) => block.on(draft, value), x)
})

/** Gives what it gets: where other families have a norm. */
export const unchanged: Block = chain([])

/** The numbers times `factor`. */
export const scaled = (factor: number): Block => ({
  tensors: [],
  on: ({ graph }, x) => graph.mul(x, graph.constant("factor", "f32", [], [factor]))
})

/** Stands where `Builder.split` gives fewer pieces than sizes, which it never does. */
export const noPiece = (): never => {
  throw new Error("Split gives one piece for each size")
}
