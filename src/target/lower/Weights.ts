import type { Graph, Initializer } from "../../onnx/Graph.ts"
import type { ByteRange } from "../../tensor/Tensor.ts"

/** A stretch of a file that goes into the joint file as it is; `at` is where it begins there. */
export interface Run extends ByteRange {
  readonly at: number
}

/** The joint file of several graphs. */
export interface Layout {
  readonly runs: ReadonlyArray<Run>
  /** bytes of the joint file */
  readonly length: number
}

/** A graph and the folder that its external locations start from. */
export interface Placed {
  readonly graph: Graph
  /** absolute */
  readonly folder: string
}

// A cache line; what vector loads like.
const ALIGNMENT = 64

const rangeOf = (folder: string, { data }: Initializer): ByteRange | undefined =>
  data.kind === "external"
    ? { file: `${folder}/${data.location}`, offset: data.offset, length: data.length }
    : undefined

const compare = (a: ByteRange, b: ByteRange): number =>
  a.file === b.file ? a.offset - b.offset : a.file < b.file ? -1 : 1

/**
 * Every byte that the graphs refer to, once: ranges that overlap or touch become one run, in order of file and offset, each at a
 * multiple of 64 bytes. What touches in the source touches in the result.
 */
export const layoutWeights = (graphs: ReadonlyArray<Placed>): Layout => {
  const ranges = graphs.flatMap(({ folder, graph }) =>
    graph.initializers.map((initializer) => rangeOf(folder, initializer)).filter((range) => range !== undefined)
  ).sort(compare)
  const merged: Array<ByteRange> = []
  for (const range of ranges) {
    const last = merged.at(-1)
    if (last === undefined || last.file !== range.file || range.offset > last.offset + last.length) {
      merged.push(range)
      continue
    }
    const end = Math.max(last.offset + last.length, range.offset + range.length)
    merged[merged.length - 1] = { ...last, length: end - last.offset }
  }
  let length = 0
  const runs = merged.map((range) => {
    const at = Math.ceil(length / ALIGNMENT) * ALIGNMENT
    length = at + range.length
    return { ...range, at }
  })
  return { runs, length }
}

/** The graph with its external initialisers in the joint file, named `location`. */
export const relocate = ({ folder, graph }: Placed, { runs }: Layout, location: string): Graph => ({
  ...graph,
  initializers: graph.initializers.map((initializer) => {
    const range = rangeOf(folder, initializer)
    const run = range === undefined ?
      undefined :
      runs.find(({ file, length, offset }) =>
        file === range.file && offset <= range.offset && range.offset + range.length <= offset + length
      )
    return range === undefined || run === undefined ? initializer : {
      ...initializer,
      data: { kind: "external", location, offset: run.at + range.offset - run.offset, length: range.length }
    }
  })
})
