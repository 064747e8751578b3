import type { Graph, Node } from "../Graph.ts"
import { numbersOf } from "../Numbers.ts"
import { deadNodes } from "./dead-nodes.ts"
import type { Pass } from "./Pass.ts"

const opposites: Readonly<Record<string, string>> = { Squeeze: "Unsqueeze", Unsqueeze: "Squeeze" }

/**
 * Reads through pairs that undo each other: Squeeze and Unsqueeze (either order) of the same axes, and every Identity.
 * Axes are compared as written, sorted; both signs of one axis do not count as equal. A value that is an output keeps its name:
 * its node becomes an Identity of what the pair came from, or, where that comes from a node and bears no output's name, that
 * node takes over the name.
 */
export const cancelReshape = {
  name: "cancel-reshape",
  run: (graph: Graph): Graph => {
    const axes = new Map(
      graph.initializers.map((initializer) => [
        initializer.name,
        numbersOf(initializer)?.toSorted((a, b) => a - b).join()
      ])
    )
    const outputs = new Set(graph.outputs.map(({ name }) => name))
    const makers = new Map<string, Node>()
    const same = new Map<string, string>()
    const nodes: Array<Node> = []
    for (const original of graph.nodes) {
      const node = { ...original, inputs: original.inputs.map((name) => same.get(name) ?? name) }
      const origin = originOf(node, makers, axes)
      const [output = ""] = node.outputs
      if (origin !== undefined) same.set(output, origin)
      if (origin !== undefined && !outputs.has(output)) continue
      const kept: Node = origin === undefined ? node : { ...node, op: "Identity", inputs: [origin], attributes: {} }
      nodes.push(kept)
      if (origin === undefined) makers.set(output, kept)
    }
    // What the pair leaves behind would be an initialiser that nobody reads, which Check refuses.
    return deadNodes.run(renamed({ ...graph, nodes }))
  }
} as const satisfies Pass

/** The value that a node's output equals, by name; undefined when it is a new one. */
const originOf = (
  node: Node,
  makers: ReadonlyMap<string, Node>,
  axes: ReadonlyMap<string, string | undefined>
): string | undefined => {
  const [value = "", by = ""] = node.inputs
  if (node.domain !== "") return undefined
  if (node.op === "Identity") return value
  const opposite = opposites[node.op]
  const before = makers.get(value)
  if (opposite === undefined || before === undefined || before.op !== opposite || before.domain !== "") return undefined
  const mine = axes.get(by)
  return mine !== undefined && mine === axes.get(before.inputs[1] ?? "") ? before.inputs[0] : undefined
}

/** Gives a node's value the output name that an Identity of it bears, where the value is not an output itself, and drops the Identity. */
const renamed = (graph: Graph): Graph => {
  const made = new Set(graph.nodes.flatMap(({ op, outputs }) => op === "Identity" ? [] : outputs))
  const outputs = new Set(graph.outputs.map(({ name }) => name))
  const names = new Map<string, string>()
  const nodes = graph.nodes.filter(({ domain, inputs: [from = ""], op, outputs: [to = ""] }) => {
    if (
      domain !== "" || op !== "Identity" || !outputs.has(to) || outputs.has(from) || !made.has(from) || names.has(from)
    ) return true
    names.set(from, to)
    return false
  })
  const rename = (name: string) => names.get(name) ?? name
  return {
    ...graph,
    nodes: nodes.map((node) => ({ ...node, inputs: node.inputs.map(rename), outputs: node.outputs.map(rename) }))
  }
}
