import type { Tensor } from "../tensor/Tensor.ts"

/** Leftovers of older versions of transformers, and the second copy of a tied embedding: nobody needs to hear of them. */
const harmless =
  /(^|\.)(rotary_emb\.(inv_freq|cos_cached|sin_cached)|(self_)?(attn|attention)\.bias|masked_bias|lm_head\.weight)$/

/** Scales of a cache that some engine keeps in 8 bits; ours is kept as it is. */
const cacheScale = /attn\.([a-z]+_)*(q|k|v|prob|output)_(scale|zero_point)$|[kv]_proj\.output_(scale|zero_point)$/

/** Of an encoder of images or sound, or of what stands between it and the language model. */
export const ofTower = (name: string): boolean =>
  /(^|\.)\w*(vision|visual|image|audio|speech|multi_modal|mm_projector|connector|resampler)/.test(name)

/** No reader of the model needs it. */
export const isHarmless = (name: string): boolean => harmless.test(name)

const inLayer = /^(.*?layers\.)([0-9]{1,6})\./

/** Number of decoder layers that names speak of: one more than the highest. */
export const layersIn = (names: Iterable<string>): number => {
  let layers = 0
  for (const name of names) {
    layers = Math.max(layers, Number(/(?:^|\.)layers\.([0-9]{1,6})\./.exec(name)?.[1] ?? -1) + 1)
  }
  return layers
}

// Older GPTQ tools store a bias of zeros beside every matrix, whether the model has one or not.
const zeroBiases = new Set(["gptq", "awq"])

/**
 * Those of `unused` without which the model computes something else: inside one of the decoder layers that `expected` speaks of, or
 * at its end. Layers beyond these predict further tokens (MTP) and are no part of the model itself.
 */
export const neededOf = (
  unused: ReadonlyArray<string>,
  expected: ReadonlyArray<string>,
  tensors: ReadonlyMap<string, Tensor>
): ReadonlyArray<string> => {
  const stacks = new Set(expected.flatMap((name) => inLayer.exec(name)?.[1] ?? []))
  const layers = layersIn(expected)
  return unused.filter((name) => {
    const weight = tensors.get(name.replace(/\.bias$/, ".weight"))
    if (name.endsWith(".bias") && zeroBiases.has(weight?.coded?.format ?? "")) return false
    const [, stack = "", layer = ""] = inLayer.exec(name) ?? []
    if (stack === "") return /^(lm_head|model\.norm)\./.test(name)
    return stacks.has(stack) && Number(layer) < layers && !cacheScale.test(name)
  })
}
