import type { Graph, Initializer, Node, Value } from "./Graph.ts"
import { identityOf } from "./Numbers.ts"

/** A graph to be linked in. Values are named as in the merged graph. */
export interface Piece {
  /** stands before the names of everything inside: `layer_0.pre.` */
  readonly prefix: string
  readonly graph: Graph
  /** input of the piece → value it reads; an input that is not here reads the value of its own name */
  readonly bind: Readonly<Record<string, string>>
  /** output of the piece → name it gets; an output that is not here has the prefix and stays inside */
  readonly emit: Readonly<Record<string, string>>
}

/**
 * Links graphs, in order, into one. Initialisers with the same bytes, dtype and shape become one. A piece whose output is
 * another name for one of its own inputs or constants gets an Identity. All pieces have one opset; metadata is that of none.
 * Throws (a defect of the caller) on a bind or emit of a name that the piece does not have.
 */
export const merge = (
  name: string,
  graphs: ReadonlyArray<Piece>,
  inputs: ReadonlyArray<Value>,
  outputs: ReadonlyArray<Value>
): Graph => {
  const nodes: Array<Node> = []
  const initializers = new Map<string, Initializer>()
  for (const { bind, emit, graph, prefix } of graphs) {
    const names = new Map(
      graph.inputs.map((input) => [input.name, Object.hasOwn(bind, input.name) ? bind[input.name] ?? "" : input.name])
    )
    unknown(name, prefix, Object.keys(bind), graph.inputs)
    unknown(name, prefix, Object.keys(emit), graph.outputs)
    for (const initializer of graph.initializers) {
      const key = identityOf(initializer)
      const shared = initializers.get(key) ?? { ...initializer, name: `${prefix}${initializer.name}` }
      initializers.set(key, shared)
      names.set(initializer.name, shared.name)
    }
    const made = new Set(graph.nodes.flatMap((node) => node.outputs))
    const copies: Array<Node> = []
    for (const [output, wanted] of Object.entries(emit)) {
      if (made.has(output)) names.set(output, wanted)
      else {copies.push({
          op: "Identity",
          domain: "",
          name: `${prefix}${output}`,
          inputs: [names.get(output) ?? output],
          outputs: [wanted],
          attributes: {}
        })}
    }
    const rename = (value: string) => value === "" ? "" : names.get(value) ?? `${prefix}${value}`
    for (const node of graph.nodes) {
      nodes.push({
        ...node,
        name: `${prefix}${node.name}`,
        inputs: node.inputs.map(rename),
        outputs: node.outputs.map(rename)
      })
    }
    nodes.push(...copies)
  }
  const opsets = new Set(graphs.map(({ graph }) => graph.opset))
  const [opset = 23] = opsets
  if (opsets.size > 1) throw new Error(`${name}: pieces of different opsets: ${[...opsets].join(", ")}`)
  return { name, opset, inputs, outputs, nodes, initializers: [...initializers.values()], metadata: {} }
}

const unknown = (name: string, prefix: string, keys: ReadonlyArray<string>, values: ReadonlyArray<Value>): void => {
  const known = new Set(values.map((value) => value.name))
  const strange = keys.filter((key) => !known.has(key))
  if (strange.length > 0) {
    throw new Error(`${name}: ${prefix} has no ${strange.join(", ")}; it has ${[...known].join(", ")}`)
  }
}
