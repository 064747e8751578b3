/** How the next token is chosen. Temperature 0: the likeliest. */
export interface Sampling {
  readonly temperature: number
  /** among this many likeliest tokens; 0: all */
  readonly topK: number
  /** among the likeliest tokens that have this share of the probability together; 1: all */
  readonly topP: number
  readonly seed: number
}

/** The likeliest token. */
export const greedy: Sampling = { temperature: 0, topK: 0, topP: 1, seed: 0 }

/** Numbers in [0, 1) from a seed. Source: splitmix32 and mulberry32 (public domain, Tommy Ettinger). */
export const uniform = (seed: number): () => number => {
  let state = seed >>> 0
  return () => {
    state = (state + 0x6d2b79f5) >>> 0
    let mixed = Math.imul(state ^ (state >>> 15), state | 1)
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32
  }
}

/** Index of the largest, the first of equals. */
export const argMax = (logits: Float32Array): number => {
  let best = 0
  for (let i = 1; i < logits.length; i++) if ((logits[i] ?? 0) > (logits[best] ?? 0)) best = i
  return best
}

/** A token drawn from the logits `[vocabulary]` with a number in [0, 1). Order: temperature, top k, top p. */
export const sample = (logits: Float32Array, { temperature, topK, topP }: Sampling, draw: number): number => {
  if (temperature === 0) return argMax(logits)
  const top = logits[argMax(logits)] ?? 0
  const weights = Float64Array.from(logits, (logit) => Math.exp((logit - top) / temperature))
  const all = topK === 0 && topP >= 1
  const order = Uint32Array.from(weights.keys())
  if (!all) order.sort((a, b) => (weights[b] ?? 0) - (weights[a] ?? 0) || a - b)
  const some = topK > 0 ? order.subarray(0, topK) : order
  const mass = some.reduce((sum, id) => sum + (weights[id] ?? 0), 0)
  // the smallest number of tokens that reaches the share
  let kept = 0
  let keptMass = 0
  while (kept < some.length && (kept === 0 || keptMass < topP * mass)) keptMass += weights[some[kept++] ?? 0] ?? 0
  let left = draw * keptMass
  for (const id of some.subarray(0, kept)) {
    left -= weights[id] ?? 0
    if (left < 0) return id
  }
  return some[kept - 1] ?? 0
}
