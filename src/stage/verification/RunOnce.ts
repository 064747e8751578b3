import { Effect } from "effect"
import type { Graph } from "../../onnx/Graph.ts"
import { encode } from "../../onnx/OnnxFile.ts"
import { beside, severed } from "../../verify/Head.ts"
import type { Values } from "../../verify/Messages.ts"
import type { Program, Runtime } from "../../verify/Runtime.ts"
import { type Activations, matrix } from "./Activations.ts"

/** A head larger than this is run in pieces: mapped and repacked whole, that of a 1B model took 0.8 GB. */
const PIECE = 16 * 2 ** 20

/** Loads a graph, runs it once on those of the activations that it takes, and lets it go; `shaped` is what is loaded in place of a graph. */
export const runOnce = Effect.fnUntraced(function*(
  runtime: Runtime["Service"],
  graph: Graph,
  options: Omit<Program, "model">,
  given: Activations,
  shaped: (graph: Graph) => Graph = (one) => one
) {
  const run = Effect.fnUntraced(function*(one: Graph, values: Activations) {
    const session = yield* runtime.load({ ...options, model: encode(shaped(one)) })
    return yield* session.run(Object.fromEntries(one.inputs.flatMap(({ name }) => {
      const value = values[name]
      return value === undefined ? [] : [[name, value] as const]
    })))
  }, Effect.scoped)

  const parts = severed(graph, PIECE)
  if (parts === undefined) return yield* run(graph, given)
  const inner: Activations = yield* run(parts.body, given)
  const products: Array<Values> = []
  for (const piece of parts.pieces) products.push(...Object.values(yield* run(piece, inner)))
  const rows = products[0]?.shape[0] ?? 0
  const numbers = beside(products.flatMap(({ data }) => data instanceof Float32Array ? [data] : []), rows)
  const [name = ""] = parts.pieces[0]?.outputs.map((output) => output.name) ?? []
  const product: Activations = { [name]: matrix(numbers, rows, rows === 0 ? 0 : numbers.length / rows) }
  return parts.tail === undefined ? product : yield* run(parts.tail, product)
})
