import type { LayerFacts } from "../arch/Architecture.ts"

/** What a decoder layer is cut into; `CONV` is all of a convolution layer, `VISION` the picture encoder. Names are those of the configuration file. */
export const parts = ["PRE", "CACHE", "POST", "CONV", "VISION"] as const
export type Part = (typeof parts)[number]

/** The parts of a layer, in the order in which a token meets them. */
export const partsOf = ({ kind }: Pick<LayerFacts, "kind">): ReadonlyArray<Part> =>
  kind === "convolution" ? ["CONV"] : ["PRE", "CACHE", "POST"]

/** One compiled program: a part of a layer, for prefill (`isGroup`) or for decode. */
export interface Program {
  readonly part: Part
  readonly isGroup: boolean
  readonly index: number
}

/** `group_pre_0`, `single_cache_3`, `vision`. */
export const programName = ({ index, isGroup, part }: Program): string =>
  part === "VISION" ? "vision" : `${isGroup ? "group" : "single"}_${part.toLowerCase()}_${index}`

/** Every program of one layer, prefill before decode. */
export const layerPrograms = (layer: Pick<LayerFacts, "kind">, index: number): ReadonlyArray<Program> =>
  [true, false].flatMap((isGroup) => partsOf(layer).map((part) => ({ part, isGroup, index })))

/** Every program of a decoder, in the order in which a token meets its layers. */
export const decoderPrograms = (layers: ReadonlyArray<Pick<LayerFacts, "kind">>): ReadonlyArray<Program> =>
  layers.flatMap(layerPrograms)

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
