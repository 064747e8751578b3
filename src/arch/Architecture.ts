import type { Result } from "effect"
import type { Graph } from "../onnx/Graph.ts"
import type { DType } from "../tensor/DType.ts"
import type { Wanted } from "../tensor/Slice.ts"
import type { Tensor } from "../tensor/Tensor.ts"

/** Frequencies of runs longer than `above` positions. */
export interface LongRope {
  readonly above: number
  /** `[rotary / 2]`, float32 values */
  readonly inverseFrequencies: ReadonlyArray<number>
  /** an answer that crosses `above` keeps the keys that it has; absent, or false: all positions of the run are turned again */
  readonly keeps?: boolean
}

/** One rotary embedding of a model. `cos = cos(position * inverseFrequencies) * attentionFactor`, likewise `sin`. */
export interface Rope {
  /** what a layer's `rope` refers to: `full`, `sliding` */
  readonly name: string
  /** `[rotary / 2]`, float32 values */
  readonly inverseFrequencies: ReadonlyArray<number>
  readonly attentionFactor: number
  /** longrope: frequencies for runs longer than `above` positions */
  readonly long?: LongRope
}

/** An attention layer as a runner sees it: PRE, CACHE and POST, and rows of keys and values for each token. */
export interface AttentionFacts {
  readonly kind: "attention"
  /** width of q: heads × head size */
  readonly queryWidth: number
  /** width of a row of K and of V: key-value heads × head size */
  readonly cacheWidth: number
  /** tokens that a token sees, itself included; undefined: all before it */
  readonly window: number | undefined
  /** name of the layer's rope; undefined where it has none */
  readonly rope: string | undefined
}

/** A convolution layer as a runner sees it: CONV alone, and a state of the same size after any number of tokens. */
export interface ConvolutionFacts {
  readonly kind: "convolution"
  /** tokens before the next one that it looks back on: the kernel's length less one */
  readonly stateRows: number
  /** numbers that are kept of each of them */
  readonly stateWidth: number
}

/** One decoder layer as a runner sees it. */
export type LayerFacts = AttentionFacts | ConvolutionFacts

/** What later stages and the runner know of a model; nothing of the family is left in it. */
export interface ModelFacts {
  /** Hugging Face `model_type` of the family that reads it */
  readonly family: string
  readonly hidden: number
  readonly vocabulary: number
  readonly heads: number
  readonly keyValueHeads: number
  readonly headSize: number
  readonly intermediate: number
  /** positions that the model was made for (`max_position_embeddings`) */
  readonly positions: number
  readonly normEpsilon: number
  readonly activation: string
  readonly layers: ReadonlyArray<LayerFacts>
  readonly ropes: ReadonlyArray<Rope>
  readonly embedding: { readonly tensor: string; readonly multiplier: number }
  /** name of the output head's weight; the embedding's where they are tied */
  readonly head: string
  /** `lm_cfg` settings that the device's configuration file names and we only hand on */
  readonly ropeTheta: number
  readonly logitSoftCap: number | undefined
  readonly attentionSoftCap: number | undefined
}

/** A tensor that the family expects in the checkpoint: `[out × in]` for a linear layer. */
export type Expected = Wanted

/** The checkpoint's tensors as a family's graphs see them; every expected tensor has been checked to be there. */
export type Weights = (name: string) => Tensor

/** A model read from its config: facts, expected tensors, and float graphs of each part (symbolic `tokens`, `context`). */
export interface Model {
  readonly facts: ModelFacts
  readonly tensors: ReadonlyArray<Expected>
  /** what a user should know of how the config was read, one sentence each */
  readonly warnings: ReadonlyArray<string>
  /** `hidden [tokens × hidden], cos, sin [tokens × rotary/2] → q [tokens × queryWidth], k, v [tokens × cacheWidth]`; a layer without rope has no cos and sin */
  readonly pre: (layer: number, weights: Weights) => Graph
  /** `q, K, V [context × cacheWidth], mask [tokens × context] (0 or -inf, added to the scores) → attended [tokens × queryWidth]`; weights are small and stay plain numbers */
  readonly cache: (layer: number, weights: Weights) => Graph
  /**
   * `attended, hidden → hidden_out [tokens × hidden]`; the last layer takes `rows: i64 [rows]` too (the tokens whose
   * prediction is wanted) and gives `logits [rows × vocabulary]` f32 when `head` is "logits", `token [rows]` i64 when it is "token".
   */
  readonly post: (layer: number, weights: Weights, head: "token" | "logits") => Graph
  /**
   * All of a convolution layer, which has no PRE, CACHE and POST: `hidden [tokens × hidden], state [stateRows × stateWidth]` (of the
   * tokens before, oldest first; zeros before the first) `→ hidden_out, state_out` (after the last token). The last layer takes `rows`
   * and gives `logits` or `token` in place of `hidden_out`, as POST does.
   */
  readonly conv: (layer: number, weights: Weights, head: "token" | "logits") => Graph
}

/** A fact of config.json that the family cannot take; `path` is the key, dots between levels. */
export interface ConfigProblem {
  readonly path: string
  readonly expected: string
  readonly found: string
  /** true: sound, but not supported here (exit code 4); false: wrong (3) */
  readonly unsupported: boolean
}

/** A model family: one file, one registry line. */
export interface Architecture {
  /** Hugging Face `model_type` */
  readonly name: string
  /** other `model_type`s that read the same way */
  readonly aliases: ReadonlyArray<string>
  /** weight dtypes the family's graphs take */
  readonly dtypes: ReadonlyArray<DType>
  /** `config` is the parsed config.json, untrusted */
  readonly read: (config: unknown) => Result.Result<Model, ReadonlyArray<ConfigProblem>>
}
