/** What a decoder layer is cut into; `VISION` is the picture encoder. Names are those of the configuration file. */
export const parts = ["PRE", "CACHE", "POST", "VISION"] as const
export type Part = (typeof parts)[number]

/** One compiled program: a part of a layer, for prefill (`isGroup`) or for decode. */
export interface Program {
  readonly part: Part
  readonly isGroup: boolean
  readonly index: number
}

/** `group_pre_0`, `single_cache_3`, `vision`. */
export const programName = ({ index, isGroup, part }: Program): string =>
  part === "VISION" ? "vision" : `${isGroup ? "group" : "single"}_${part.toLowerCase()}_${index}`

/** Every program of a decoder of `layers` layers, in the order in which a token meets them, prefill before decode. */
export const decoderPrograms = (layers: number): ReadonlyArray<Program> =>
  Array.from(
    { length: layers },
    (_, index) =>
      [true, false].flatMap((isGroup) => (["PRE", "CACHE", "POST"] as const).map((part) => ({ part, isGroup, index })))
  ).flat()

/** `0-3, 7` of ascending numbers. */
export const numberRanges = (numbers: ReadonlyArray<number>): string => {
  const runs: Array<readonly [number, number]> = []
  for (const number of numbers) {
    const last = runs.at(-1)
    if (last !== undefined && last[1] === number - 1) runs[runs.length - 1] = [last[0], number]
    else runs.push([number, number])
  }
  return runs.map(([from, to]) => from === to ? `${from}` : `${from}-${to}`).join(", ")
}
