import { Effect, Layer } from "effect"
import { check } from "../onnx/Check.ts"
import type { Graph } from "../onnx/Graph.ts"
import { encode } from "../onnx/OnnxFile.ts"
import type { Entry } from "../pack/Entry.ts"
import { type HostManifest, MANIFEST, WEIGHTS } from "./HostManifest.ts"
import { lower } from "./lower/registry.ts"
import { type Layout, layoutWeights, relocate } from "./lower/Weights.ts"
import { type CompiledPart, Target, TargetError } from "./Target.ts"

const failed = (part: string, detail: string) => new TargetError({ target: "host", part, detail, retry: "never" })

/** The graph that onnxruntime runs for a quantised part, checked; weights are only referred to. */
const compiled = (name: string, graph: Graph): Effect.Effect<Graph, TargetError> => {
  const lowered = lower(graph)
  const [problem] = check(lowered, { matMulNBits: true })
  return problem === undefined
    ? Effect.succeed(lowered)
    : Effect.fail(
      failed(name, `the graph is broken at ${problem.at}: expected ${problem.expected}, found ${problem.found}`)
    )
}

/** The runs one after the other, zeros between them. */
const weightsEntry = ({ runs }: Layout): Entry => {
  let end = 0
  const ranges = runs.flatMap(({ at, file, length, offset }) => {
    const gap = at - end
    end = at + length
    return [...gap > 0 ? [{ zeros: gap }] : [], { file, offset, length }]
  })
  return { name: WEIGHTS, content: { kind: "ranges", ranges } }
}

const bytesEntry = (name: string, bytes: Uint8Array): Entry => ({ name, content: { kind: "bytes", bytes } })

/** Parts and the graph that each is; fails for one that another target has compiled. */
const graphOf = (part: CompiledPart) =>
  part.kind === "graph"
    ? Effect.succeed(part)
    : Effect.fail(failed(part.name, `is a .${part.extension} file of another target`))

/** Files of a layer's archive: a graph per part, the weights of all of them once, and the manifest. */
const entriesOf = Effect.fn("Target.link")(function*(layer: string, parts: ReadonlyArray<CompiledPart>) {
  const placed = yield* Effect.forEach(parts, graphOf)
  const layout = layoutWeights(placed)
  const graphs = placed.map((part) => ({ name: part.name, graph: relocate(part, layout, WEIGHTS) }))
  const manifest: HostManifest = {
    format: 1,
    layer,
    target: "host",
    parts: graphs.map(({ graph: { inputs, outputs }, name }) => ({ name, file: `${name}.onnx`, inputs, outputs })),
    weights: layout.length === 0 ? null : { file: WEIGHTS, bytes: layout.length }
  }
  return [
    bytesEntry(MANIFEST, new TextEncoder().encode(`${JSON.stringify(manifest, undefined, 1)}\n`)),
    ...graphs.map(({ graph, name }) => bytesEntry(`${name}.onnx`, encode(graph))),
    ...layout.length === 0 ? [] : [weightsEntry(layout)]
  ]
})

/** This machine's CPU, through onnxruntime: graphs stay graphs, codes are read as they lie. */
export const hostLayer: Layer.Layer<Target> = Layer.succeed(
  Target,
  Target.of({
    facts: { name: "host", shapes: "symbolic", runsHere: true },
    compile: Effect.fn("Target.compile")(function*({ folder, graph, name }) {
      yield* Effect.annotateCurrentSpan({ part: name })
      return { kind: "graph", name, graph: yield* compiled(name, graph), folder }
    }),
    link: entriesOf
  })
)
