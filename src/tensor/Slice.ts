import type { Tensor } from "./Tensor.ts"

/** Tensors of one shape that are stored as one, `[count × …shape]`: where among them one lies. */
export interface Within {
  /** name of the stored tensor */
  readonly name: string
  readonly at: number
  readonly count: number
}

/** A tensor by name and shape, stored as it is or within another. */
export interface Wanted {
  readonly name: string
  readonly shape: ReadonlyArray<number>
  readonly within?: Within
}

/** The tensors that have to be stored for `wanted` to be there, each once. */
export const storedOf = (
  wanted: ReadonlyArray<Wanted>
): ReadonlyArray<{ readonly name: string; readonly shape: ReadonlyArray<number> }> => [
  ...new Map(
    wanted.map(({ name, shape, within }) =>
      within === undefined
        ? [name, { name, shape }]
        : [within.name, { name: within.name, shape: [within.count, ...shape] }]
    )
  ).values()
]

/** The tensor among stored ones; undefined where what it is stored in is not there. */
export const tensorIn = (
  tensors: ReadonlyMap<string, Tensor>,
  { name, shape, within }: Wanted
): Tensor | undefined => {
  const stored = tensors.get(within?.name ?? name)
  if (stored === undefined || within === undefined) return stored
  const { file, length, offset } = stored.range
  const bytes = length / within.count
  return { name, dtype: stored.dtype, shape, range: { file, offset: offset + within.at * bytes, length: bytes } }
}
