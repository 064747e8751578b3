import type { Graph } from "../Graph.ts"

/** A rewrite of a graph that keeps inputs, outputs and what is computed; a second run changes nothing more. */
export interface Pass {
  /** the file's name */
  readonly name: string
  readonly run: (graph: Graph) => Graph
}
