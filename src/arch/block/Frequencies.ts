// float32 wherever torch uses it, so that the tables are transformers' own: at position 100,000 the rounding of a frequency shows.
const f32 = Math.fround
const TURN = f32(2 * Math.PI)

const pairs = (rotary: number): ReadonlyArray<number> => Array.from({ length: rotary / 2 }, (_, at) => at)

/** `theta^(2i / rotary)` for each pair, float32. */
const periods = (theta: number, rotary: number): ReadonlyArray<number> =>
  pairs(rotary).map((at) => f32(f32(theta) ** f32((2 * at) / rotary)))

/** `theta^(-2i / rotary)` `[rotary / 2]`. Source: transformers 4.57 and 5, `compute_default_rope_parameters`. */
export const plain = (theta: number, rotary: number): ReadonlyArray<number> =>
  periods(theta, rotary).map((period) => f32(1 / period))

/** Positions divided by `factor`. Source: `_compute_linear_scaling_rope_parameters`. */
export const linear = (theta: number, rotary: number, factor: number): ReadonlyArray<number> =>
  plain(theta, rotary).map((frequency) => f32(frequency / f32(factor)))

/** Settings of llama3 scaling; `original` is the number of positions before it. */
export interface Llama3 {
  readonly factor: number
  readonly low: number
  readonly high: number
  readonly original: number
}

/** Short waves as they are, long ones divided by `factor`, and a blend between. Source: `_compute_llama3_parameters`. */
export const llama3 = (theta: number, rotary: number, { factor, high, low, original }: Llama3): ReadonlyArray<number> =>
  plain(theta, rotary).map((frequency) => {
    const wave = f32(TURN / frequency)
    if (wave > f32(original / low)) return f32(frequency / f32(factor))
    if (wave < f32(original / high)) return frequency
    const smooth = f32(f32(f32(f32(original) / wave) - f32(low)) / f32(high - low))
    return f32(f32(f32(f32(1 - smooth) * frequency) / f32(factor)) + f32(smooth * frequency))
  })

/** Settings of yarn; `fast` and `slow` are turns over `original` positions. */
export interface Yarn {
  readonly factor: number
  readonly original: number
  readonly fast: number
  readonly slow: number
  readonly truncate: boolean
}

const clamp01 = (value: number): number => Math.min(Math.max(value, 0), 1)

/** A ramp over the pairs from frequencies as they are to divided ones. Source: `_compute_yarn_parameters`. */
export const yarn = (
  theta: number,
  rotary: number,
  { factor, fast, original, slow, truncate }: Yarn
): ReadonlyArray<number> => {
  const pairOf = (turns: number) => (rotary * Math.log(original / (turns * 2 * Math.PI))) / (2 * Math.log(theta))
  const low = Math.max(truncate ? Math.floor(pairOf(fast)) : pairOf(fast), 0)
  const end = Math.min(truncate ? Math.ceil(pairOf(slow)) : pairOf(slow), rotary - 1)
  const high = low === end ? end + 0.001 : end // as the source does: no division by zero
  return periods(theta, rotary).map((period, at) => {
    const kept = f32(1 - clamp01(f32(f32(at - f32(low)) / f32(high - low))))
    const divided = f32(1 / f32(f32(factor) * period))
    return f32(f32(divided * f32(1 - kept)) + f32(f32(1 / period) * kept))
  })
}

/** The factor on cos and sin that goes with yarn, where the config names none. Source: `_compute_yarn_parameters`. */
export const yarnAttention = (factor: number, mscale: number | undefined, mscaleAll: number | undefined): number => {
  const scale = (weight: number) => factor <= 1 ? 1 : 0.1 * weight * Math.log(factor) + 1
  return mscale !== undefined && mscaleAll !== undefined ? scale(mscale) / scale(mscaleAll) : scale(1)
}

/** Each frequency divided by its own factor. Source: `_compute_longrope_parameters`. */
export const divided = (theta: number, rotary: number, factors: ReadonlyArray<number>): ReadonlyArray<number> =>
  periods(theta, rotary).map((period, at) => f32(1 / f32(f32(factors[at] ?? 1) * period)))

/** The factor on cos and sin that goes with longrope, where the config names none. Source: `_compute_longrope_parameters`. */
export const longAttention = (factor: number, original: number): number =>
  factor <= 1 ? 1 : Math.sqrt(1 + Math.log(factor) / Math.log(original))
