import { Effect } from "effect"
import type { Graph } from "../../onnx/Graph.ts"
import { encode } from "../../onnx/OnnxFile.ts"
import { beside, severed } from "../../verify/Head.ts"
import type { Values } from "../../verify/Messages.ts"
import type { Program, Runtime } from "../../verify/Runtime.ts"
import { type Activations, matrix } from "./Activations.ts"

/** A head larger than this is run in pieces: mapped and repacked whole, that of a 1B model took 0.8 GB. */
const PIECE = 16 * 2 ** 20

/**
 * Loads a graph, runs it on each of the given activations, as far as it takes them, and lets it go; `shaped` is what is loaded in place of
 * a graph. The results are in the order of `given`.
 */
export const runEach = Effect.fnUntraced(function*(
  runtime: Runtime["Service"],
  graph: Graph,
  options: Omit<Program, "model">,
  given: ReadonlyArray<Activations>,
  shaped: (graph: Graph) => Graph = (one) => one
) {
  const run = Effect.fnUntraced(function*(one: Graph, all: ReadonlyArray<Activations>) {
    const session = yield* runtime.load({ ...options, model: encode(shaped(one)) })
    return yield* Effect.forEach(all, (values) =>
      session.run(Object.fromEntries(one.inputs.flatMap(({ name }) => {
        const value = values[name]
        return value === undefined ? [] : [[name, value] as const]
      }))))
  }, Effect.scoped)

  const parts = severed(graph, PIECE)
  if (parts === undefined) return yield* run(graph, given)
  const inner = yield* run(parts.body, given)
  const products = given.map((): Array<Values> => [])
  for (const piece of parts.pieces) {
    for (const [at, made] of (yield* run(piece, inner)).entries()) products[at]?.push(...Object.values(made))
  }
  const [name = ""] = parts.pieces[0]?.outputs.map((output) => output.name) ?? []
  const whole = products.map((pieces): Activations => {
    const rows = pieces[0]?.shape[0] ?? 0
    const numbers = beside(pieces.flatMap(({ data }) => data instanceof Float32Array ? [data] : []), rows)
    return { [name]: matrix(numbers, rows, rows === 0 ? 0 : numbers.length / rows) }
  })
  return parts.tail === undefined ? whole : yield* run(parts.tail, whole)
})
