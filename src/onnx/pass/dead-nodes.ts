import type { Graph, Node } from "../Graph.ts"
import type { Pass } from "./Pass.ts"

/** Removes nodes and initialisers that no output needs. Unused inputs stay: they are the graph's contract. */
export const deadNodes = {
  name: "dead-nodes",
  run: (graph: Graph): Graph => {
    const needed = new Set(graph.outputs.map(({ name }) => name))
    const kept: Array<Node> = []
    for (const node of graph.nodes.toReversed()) {
      if (!node.outputs.some((name) => needed.has(name))) continue
      kept.push(node)
      for (const name of node.inputs) needed.add(name)
    }
    return {
      ...graph,
      nodes: kept.toReversed(),
      initializers: graph.initializers.filter(({ name }) => needed.has(name))
    }
  }
} as const satisfies Pass
