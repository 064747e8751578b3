import type { Graph, Value } from "./Graph.ts"

/** The graph with sizes in the place of symbolic dimensions; those without a size stay symbolic. */
export const fixShapes = (graph: Graph, dims: Readonly<Record<string, number>>): Graph => {
  const fixed = (value: Value): Value => ({
    ...value,
    shape: value.shape.map((dim) => typeof dim === "string" ? dims[dim] ?? dim : dim)
  })
  return { ...graph, inputs: graph.inputs.map(fixed), outputs: graph.outputs.map(fixed) }
}
