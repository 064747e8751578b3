import { Result } from "effect"
import type { RuntimeConfig } from "../devkit/RuntimeConfig.ts"
import type { Graph, Node, Value } from "../onnx/Graph.ts"
import { merge, type Piece } from "../onnx/Merge.ts"
import { simplify } from "../onnx/pass/registry.ts"
import { lift } from "./Lift.ts"
import { Damaged, ProgramsMissing } from "./RunError.ts"
import { fuseSkipNorm } from "./SkipNorm.ts"

/** Prompt passes use the group programs, single tokens the single ones. */
export type Phase = "group" | "single"

/** What is linked. */
export interface LinkOptions {
  readonly phase: Phase
  /** the graph of a program, with locations as the joint graph will have them; undefined where the archive has none */
  readonly graphOf: (program: string) => Graph | undefined
  /**
   * true: attention reads `K_i`, `V_i` `[context × width]` into whose last rows the runner has `k_i`, `v_i` written;
   * false: they are the rows before, and the graph puts the new ones behind them
   */
  readonly aliased: boolean
}

/** Name of the mask, and of its dimension, of layers with this window. */
export const maskName = (window: number | null): string => window === null ? "mask_full" : `mask_${window}`

/** Names of a rope's tables. */
export const ropeNames = (rope: string): readonly [string, string] => [`cos_${rope}`, `sin_${rope}`]

const f32 = (name: string, shape: Value["shape"]): Value => ({ name, dtype: "f32", shape })

const contextOf = (window: number | null): string => window === null ? "context" : `context_${window}`

/** Past rows and new rows, one after the other. */
const append = (layer: number, name: "K" | "V", width: number): Piece => ({
  prefix: `layer_${layer}.${name}.`,
  bind: { past: `${name}_${layer}`, now: `${name.toLowerCase()}_${layer}` },
  emit: { all: `layer_${layer}.${name}` },
  graph: {
    name: "append",
    opset: 23,
    inputs: [f32("past", ["past", width]), f32("now", ["tokens", width])],
    outputs: [f32("all", ["context", width])],
    nodes: [{
      op: "Concat",
      domain: "",
      name: "append",
      inputs: ["past", "now"],
      outputs: ["all"],
      attributes: { axis: { kind: "int", value: 0 } }
    }],
    initializers: [],
    metadata: {}
  }
})

type AttentionLayer = Extract<RuntimeConfig["layers"][number], { readonly kind: "attention" }>

/** The attention layers, with their numbers. */
const attentionOf = (config: RuntimeConfig) =>
  config.layers.flatMap((layer, index) => layer.kind === "attention" ? [{ ...layer, index }] : [])

/** The rotary embeddings that some layer uses. */
export const ropesOf = (config: RuntimeConfig): RuntimeConfig["ropes"] => {
  const used = new Set(attentionOf(config).map(({ rope }) => rope))
  return config.ropes.filter(({ name }) => used.has(name))
}

/** Bindings for those of the graph's inputs that there is a value for. */
const bound = (graph: Graph, values: Readonly<Record<string, string>>): Readonly<Record<string, string>> =>
  Object.fromEntries(
    graph.inputs.flatMap(({ name }) => {
      const value = values[name]
      return value === undefined ? [] : [[name, value] as const]
    })
  )

const emitted = (graph: Graph, values: Readonly<Record<string, string>>): Readonly<Record<string, string>> =>
  Object.fromEntries(
    graph.outputs.flatMap(({ name }) => {
      const value = values[name]
      return value === undefined ? [] : [[name, value] as const]
    })
  )

/** A layer's program among the others: inputs and outputs by the names that they have there. */
const pieceOf = (
  prefix: string,
  graph: Graph,
  inputs: Readonly<Record<string, string>>,
  outputs: Readonly<Record<string, string>>
): Piece => ({ prefix, graph, bind: bound(graph, inputs), emit: emitted(graph, outputs) })

const hiddenBefore = (index: number): string => index === 0 ? "hidden" : `layer_${index - 1}.hidden`

/** What the last program of a layer gives. */
const endsOf = (index: number) => ({ hidden_out: `layer_${index}.hidden`, token: "token", logits: "logits" })

const attentionPieces = (
  { cacheWidth: width, rope, window }: AttentionLayer,
  index: number,
  find: (part: string) => Graph,
  aliased: boolean
): ReadonlyArray<Piece> => {
  const at = `layer_${index}`
  const [cos, sin] = ropeNames(rope ?? "")
  const hidden = hiddenBefore(index)
  const piece = (
    part: string,
    inputs: Readonly<Record<string, string>>,
    outputs: Readonly<Record<string, string>>
  ) => pieceOf(`${at}.${part}.`, find(part), inputs, outputs)
  return [
    piece("pre", { hidden, cos, sin }, { q: `${at}.q`, k: `k_${index}`, v: `v_${index}` }),
    ...aliased ? [] : [append(index, "K", width), append(index, "V", width)],
    piece("cache", {
      q: `${at}.q`,
      K: aliased ? `K_${index}` : `${at}.K`,
      V: aliased ? `V_${index}` : `${at}.V`,
      mask: maskName(window)
    }, { attended: `${at}.attended` }),
    piece("post", { attended: `${at}.attended`, hidden, rows: "rows" }, endsOf(index))
  ]
}

const layerPieces = (
  config: RuntimeConfig,
  find: (part: string, index: number) => Graph,
  aliased: boolean
): ReadonlyArray<Piece> =>
  config.layers.flatMap((layer, index) =>
    layer.kind === "attention"
      ? attentionPieces(layer, index, (part) => find(part, index), aliased)
      : [pieceOf(
        `layer_${index}.conv.`,
        find("conv", index),
        { hidden: hiddenBefore(index), state: `state_${index}`, rows: "rows" },
        { ...endsOf(index), state_out: `state_out_${index}` }
      )]
  )

/** Inputs in the order in which a runner thinks of them. */
const inputsOf = (config: RuntimeConfig): ReadonlyArray<Value> => {
  const windows = [...new Set(attentionOf(config).map(({ window }) => window))]
  return [
    f32("hidden", ["tokens", config.hidden]),
    ...ropesOf(config).flatMap(({ inverseFrequencies, name }) =>
      ropeNames(name).map((table) => f32(table, ["tokens", inverseFrequencies.length]))
    ),
    ...windows.map((window) => f32(maskName(window), ["tokens", `all_${contextOf(window)}`])),
    ...config.layers.flatMap((layer, i) =>
      layer.kind === "attention"
        ? ["K", "V"].map((name) => f32(`${name}_${i}`, [contextOf(layer.window), layer.cacheWidth]))
        : [f32(`state_${i}`, [layer.stateRows, layer.stateWidth])]
    ),
    { name: "rows", dtype: "i64", shape: ["rows"] }
  ]
}

/** The graph with a value renamed. */
const renamed = (graph: Graph, from: string, to: string): Graph => {
  const rename = (name: string) => name === from ? to : name
  return {
    ...graph,
    nodes: graph.nodes.map((node) => ({ ...node, inputs: node.inputs.map(rename), outputs: node.outputs.map(rename) }))
  }
}

const argMax: Node = {
  op: "ArgMax",
  domain: "",
  name: "token",
  inputs: ["logits"],
  outputs: ["token"],
  attributes: { axis: { kind: "int", value: -1 }, keepdims: { kind: "int", value: 0 } }
}

/** Both `token` and `logits` as values, whichever of them the build's last program gives. */
const withBoth = (graph: Graph, inner: string): Result.Result<Graph, Damaged> => {
  const made = new Set(graph.nodes.flatMap(({ outputs }) => outputs))
  if (made.has("logits")) return Result.succeed({ ...graph, nodes: [...graph.nodes, argMax] })
  return made.has(inner)
    ? Result.succeed(renamed(graph, inner, "logits"))
    : Result.fail(new Damaged({ where: "the last program", expected: "a value named logits", found: "none" }))
}

/**
 * All programs of a phase as one graph: `hidden, cos_<rope>, sin_<rope>, mask_<window>, K_i, V_i, state_i, rows → k_i, v_i [tokens × width], state_out_i,
 * token [rows] i64, logits [rows × vocabulary]`; but for masks and rows with a batch of one before, where `lift` can. Fails when programs are missing.
 */
export const link = (
  config: RuntimeConfig,
  { aliased, graphOf, phase }: LinkOptions
): Result.Result<Graph, ProgramsMissing | Damaged> => {
  const missing: Array<string> = []
  const piecesOf = (wanted: Phase) =>
    layerPieces(config, (part, index) => {
      const program = `${wanted}_${part}_${index}`
      const graph = graphOf(program)
      if (graph === undefined) missing.push(program)
      return graph ?? { name: "", opset: 23, inputs: [], outputs: [], nodes: [], initializers: [], metadata: {} }
    }, aliased)
  const pieces = piecesOf(phase)
  if (missing.length > 0) {
    // a run needs both phases: all that is missing is told at once
    piecesOf(phase === "group" ? "single" : "group")
    const omitted = new Set(config.layers.flatMap((layer) => layer.omitted))
    return Result.fail(new ProgramsMissing({ programs: missing, omitted: missing.filter((name) => omitted.has(name)) }))
  }
  const outputs: ReadonlyArray<Value> = [
    ...config.layers.flatMap((layer, i) =>
      layer.kind === "attention"
        ? ["k", "v"].map((name) => f32(`${name}_${i}`, ["tokens", layer.cacheWidth]))
        : [f32(`state_out_${i}`, [layer.stateRows, layer.stateWidth])]
    ),
    { name: "token", dtype: "i64", shape: ["rows"] },
    f32("logits", ["rows", config.vocabulary])
  ]
  const whole = merge("decoder", pieces, inputsOf(config), outputs)
  const part = config.layers.at(-1)?.kind === "convolution" ? "conv" : "post"
  return Result.map(withBoth(whole, `layer_${config.layers.length - 1}.${part}.logits`), (graph) => {
    const simple = fuseSkipNorm(simplify(graph))
    return lift(simple) ?? simple
  })
}
