import type { Builder, Ref } from "../../onnx/Builder.ts"
import type { Expected } from "../Architecture.ts"
import { beside, type Block, type Draft, linear, noPiece } from "./Block.ts"
import type { Shape } from "./Config.ts"

/** Tables of the rotary embedding, `[tokens × rotary/2]`, for heads of which `rotary` numbers turn. */
export interface Angles {
  readonly cos: Ref
  readonly sin: Ref
  readonly rotary: number
}

/** What PRE gives: q `[tokens × queryWidth]`, k and v `[tokens × cacheWidth]`. */
export interface Projected {
  readonly q: Ref
  readonly k: Ref
  readonly v: Ref
}

/** What CACHE reads: q, the caches `[context × cacheWidth]`, and the mask `[tokens × context]` added to the scores. */
export interface Cached {
  readonly q: Ref
  readonly keys: Ref
  readonly values: Ref
  readonly mask: Ref
}

/** q, k and v side by side, `[tokens × (queryWidth + 2·cacheWidth)]`, from `<at>.q_proj`, `k_proj` and `v_proj`. */
export const projections = (at: string, { cacheWidth, hidden, queryWidth }: Shape, bias: boolean): Block =>
  beside([
    linear(`${at}.q_proj`, hidden, queryWidth, bias),
    linear(`${at}.k_proj`, hidden, cacheWidth, bias),
    linear(`${at}.v_proj`, hidden, cacheWidth, bias)
  ])

/** q and k, side by side, with the rotary embedding in every head; as they are where there are no angles. */
const turned = (
  graph: Builder,
  { headSize, heads, keyValueHeads }: Shape,
  qk: Ref,
  angles: Angles | undefined
): Ref => {
  if (angles === undefined) return qk
  const batched = (ref: Ref) => graph.unsqueeze(ref, [0])
  const part = angles.rotary === headSize ? undefined : angles.rotary
  const whole = graph.rotary(batched(qk), batched(angles.cos), batched(angles.sin), heads + keyValueHeads, part)
  return graph.squeeze(whole, [0])
}

/** Norms of q and k between projection and rotary embedding. */
export interface HeadNorms {
  readonly q: Block
  readonly k: Block
}

/**
 * q, k and v from all three side by side. q and k come out of one Split, the last node, and v out of one before it: a host
 * writes k and v straight into the cache that the attention of the same graph reads, so both must be there before q is.
 */
export const separated = (
  draft: Draft,
  shape: Shape,
  qkv: Ref,
  angles: Angles | undefined,
  norms: HeadNorms | undefined
): Projected => {
  const { graph } = draft
  const { cacheWidth, queryWidth } = shape
  const raw = (): readonly [Ref, Ref] => {
    if (norms === undefined) {
      const [qk = noPiece(), v = noPiece()] = graph.split(qkv, [queryWidth + cacheWidth, cacheWidth], 1)
      return [qk, v]
    }
    const [q = noPiece(), k = noPiece(), v = noPiece()] = graph.split(qkv, [queryWidth, cacheWidth, cacheWidth], 1)
    return [graph.concat([norms.q.on(draft, q), norms.k.on(draft, k)], 1), v]
  }
  const [qk, v] = raw()
  const [q = noPiece(), k = noPiece()] = graph.split(turned(graph, shape, qk, angles), [queryWidth, cacheWidth], 1)
  return { q, k, v }
}

/** How scores are made of `q · k`: times `scale`, then `cap · tanh(scores / cap)` where there is a cap. */
export interface Scores {
  readonly scale: number
  readonly cap: number | undefined
}

/** What a layer makes of its cache, `[tokens × queryWidth]`, and the tensors that it expects; window and causality are in the mask. */
export interface CacheReader {
  readonly tensors: ReadonlyArray<Expected>
  readonly on: (draft: Draft, cached: Cached) => Ref
}

/** Dot-product attention. */
export const attention = ({ heads, keyValueHeads }: Shape, { cap, scale }: Scores): CacheReader => ({
  tensors: [],
  on: ({ graph }, { keys, mask, q, values }) => {
    const batched = (ref: Ref) => graph.unsqueeze(ref, [0])
    const options = { qHeads: heads, kvHeads: keyValueHeads, scale, softcap: cap }
    return graph.squeeze(graph.attention(batched(q), batched(keys), batched(values), mask, options), [0])
  }
})
