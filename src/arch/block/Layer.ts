import type { Ref } from "../../onnx/Builder.ts"
import type { AttentionFacts, ConvolutionFacts, Expected } from "../Architecture.ts"
import {
  type Angles,
  attention,
  type Cached,
  type CacheReader,
  type HeadNorms,
  type Projected,
  separated
} from "./Attention.ts"
import type { Block, Draft } from "./Block.ts"
import type { Shape } from "./Config.ts"

/** An attention layer: what a runner sees, the tensors it expects, and what its three parts add to a graph. */
export interface AttentionLayer {
  readonly facts: AttentionFacts
  readonly tensors: ReadonlyArray<Expected>
  readonly pre: (draft: Draft, hidden: Ref, angles: Angles | undefined) => Projected
  readonly cache: (draft: Draft, inputs: Cached) => Ref
  readonly post: (draft: Draft, attended: Ref, hidden: Ref) => Ref
}

/** A convolution layer: the same, with one part. With `rows`, `hidden` is of these tokens only; the state is of all. */
export interface ConvolutionLayer {
  readonly facts: ConvolutionFacts
  readonly tensors: ReadonlyArray<Expected>
  readonly conv: (
    draft: Draft,
    hidden: Ref,
    state: Ref,
    rows: Ref | undefined
  ) => { readonly hidden: Ref; readonly state: Ref }
}

/** One decoder layer. */
export type Layer = AttentionLayer | ConvolutionLayer

/** Facts of an attention layer. */
export const attentionFacts = (
  { cacheWidth, queryWidth }: Shape,
  rope: string | undefined,
  window: number | undefined
): AttentionFacts => ({ kind: "attention", queryWidth, cacheWidth, window, rope })

/** Blocks of a layer that norms before attention and before the MLP, and adds both to its input. Where a family has norms behind them, too, or only there, they are part of `output` and `mlp`. */
export interface PreNorm {
  readonly inputNorm: Block
  /** q, k and v side by side */
  readonly qkv: Block
  readonly headNorms: HeadNorms | undefined
  readonly output: Block
  readonly middleNorm: Block
  readonly mlp: Block
}

/** `x + output(reader(norm(x)))`, then `x + mlp(norm(x))`; attention with scores scaled by `headSize^-0.5` where nothing else is said. */
export const preNorm = (
  shape: Shape,
  facts: AttentionFacts,
  { headNorms, inputNorm, middleNorm, mlp, output, qkv }: PreNorm,
  reader: CacheReader = attention(shape, { scale: shape.headSize ** -0.5, cap: undefined })
): AttentionLayer => ({
  facts,
  tensors: [
    inputNorm,
    qkv,
    ...(headNorms === undefined ? [] : [headNorms.q, headNorms.k]),
    reader,
    output,
    middleNorm,
    mlp
  ].flatMap(({ tensors }) => tensors),
  pre: (draft, hidden, angles) =>
    separated(draft, shape, qkv.on(draft, inputNorm.on(draft, hidden)), angles, headNorms),
  cache: reader.on,
  post: (draft, attended, hidden) => {
    const x = draft.graph.add(hidden, output.on(draft, attended))
    return draft.graph.add(x, mlp.on(draft, middleNorm.on(draft, x)))
  }
})
