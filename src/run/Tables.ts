/**
 * Cosines and sines of a rotary embedding for tokens from `position`, `[tokens × half]`. Angles are rounded to float32 before cos
 * and sin, as torch has them. Source: transformers 5.23, modeling_rope_utils.
 */
export const rotaryTables = (
  frequencies: ReadonlyArray<number>,
  factor: number,
  position: number,
  tokens: number,
  cos: Float32Array,
  sin: Float32Array
): void => {
  const half = frequencies.length
  for (let token = 0; token < tokens; token++) {
    for (let i = 0; i < half; i++) {
      const angle = Math.fround((position + token) * (frequencies[i] ?? 0))
      cos[token * half + i] = Math.fround(Math.cos(angle)) * factor
      sin[token * half + i] = Math.fround(Math.sin(angle)) * factor
    }
  }
}

/** First position that a token at `position` sees. */
export const firstSeen = (position: number, window: number | null): number =>
  window === null ? 0 : Math.max(0, position - window + 1)

/**
 * The mask of tokens from `position`, `[tokens × context]`: 0 where a token sees, -infinity where it does not. The context begins at
 * what the first of them sees and ends at the last of them.
 */
export const maskRows = (position: number, tokens: number, window: number | null, out: Float32Array): void => {
  const start = firstSeen(position, window)
  const context = position + tokens - start
  out.fill(-Infinity, 0, tokens * context)
  for (let token = 0; token < tokens; token++) {
    const from = firstSeen(position + token, window) - start
    out.fill(0, token * context + from, token * context + position + token - start + 1)
  }
}
