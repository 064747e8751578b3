import type { LayerMemory } from "./Protocol.ts"

/** The state of one convolution layer, `[rows × width]`; `index` is the layer's. */
export interface State {
  readonly index: number
  readonly shape: readonly [rows: number, width: number]
  readonly data: Float32Array
}

// States are some hundred KB each for models of today.
const MOST_MARKS = 32

/** Ascending positions for prompts to begin at, and one behind them; where they are too many, without the one whose neighbours are closest. */
export const marked = (marks: ReadonlyArray<number>, position: number): ReadonlyArray<number> => {
  const all = [...marks, position]
  if (all.length <= MOST_MARKS) return all
  const gaps = marks.map((_, i) => (all[i + 1] ?? 0) - (all[i - 1] ?? 0))
  const closest = gaps.indexOf(Math.min(...gaps))
  return all.filter((_, i) => i !== closest)
}

/**
 * States of convolution layers by the number of tokens that made them. Unlike a cache, a state cannot be cut back: a pass begins
 * where there is one, at 0, behind the pass before, or at a mark.
 */
export class States {
  /** before the first token: zeros; empty where no layer is a convolution */
  readonly #zeros: ReadonlyArray<State>
  readonly #known = new Map<number, ReadonlyArray<State>>()

  constructor(layers: ReadonlyArray<LayerMemory>) {
    this.#zeros = layers.flatMap((layer, index): ReadonlyArray<State> =>
      layer.kind === "convolution"
        ? [{ index, shape: [layer.rows, layer.width], data: new Float32Array(layer.rows * layer.width) }]
        : []
    )
  }

  /** After `position` tokens. Throws where they are not kept: a pass began where it may not, and would give wrong tokens. */
  at(position: number): ReadonlyArray<State> {
    const states = position === 0 || this.#zeros.length === 0 ? this.#zeros : this.#known.get(position)
    if (states === undefined) throw new Error(`the states after ${position} tokens were not kept`)
    return states
  }

  /** Takes over what a pass from `position` to `end` gave, `read(layer)`; forgets all others but those at marks up to there. */
  put(position: number, end: number, marks: ReadonlyArray<number>, read: (index: number) => unknown): void {
    const after = this.at(position).map(({ index, shape }): State => {
      const data = read(index)
      if (!(data instanceof Float32Array)) throw new Error(`layer ${index} gave no state`)
      return { index, shape, data }
    })
    const kept = new Set([position, ...marks.filter((mark) => mark < position)])
    for (const known of this.#known.keys()) if (!kept.has(known)) this.#known.delete(known)
    this.#known.set(end, after)
  }
}
