import { Result } from "effect"
import type { Builder, Ref } from "../../onnx/Builder.ts"
import { beside, type Block, chain, linear, noPiece } from "./Block.ts"
import { type Read, type Shape, show, unsupported } from "./Config.ts"

/** A function of each number, by its name in config.json (`hidden_act`). */
export interface Activation {
  readonly name: string
  readonly on: (graph: Builder, x: Ref) => Ref
}

const activations = {
  silu: (graph, x) => graph.silu(x),
  swish: (graph, x) => graph.silu(x),
  gelu: (graph, x) => graph.gelu(x),
  gelu_new: (graph, x) => graph.geluTanh(x),
  gelu_pytorch_tanh: (graph, x) => graph.geluTanh(x)
} as const satisfies Readonly<Record<string, Activation["on"]>>

const isActivation = (name: string): name is keyof typeof activations => Object.hasOwn(activations, name)

/** The activation that a config names at `path`. Source: transformers 5, `ACT2FN`. */
export const activationOf = (name: string, path = "hidden_act"): Read<Activation> =>
  isActivation(name)
    ? Result.succeed({ name, on: activations[name] })
    : Result.fail(unsupported(path, `one of ${Object.keys(activations).join(", ")}`, show(name)))

/** `activation(gate) · up`, `[tokens × intermediate]`, of both side by side, gate first. */
export const gate = (intermediate: number, activation: Activation): Block => ({
  tensors: [],
  on: ({ graph }, x) => {
    const [gate = noPiece(), up = noPiece()] = graph.split(x, [intermediate, intermediate], 1)
    return graph.mul(activation.on(graph, gate), up)
  }
})

/** `down(activation(gate) · up)`; `gateUp` gives both, gate first, `[tokens × 2·intermediate]`. */
export const gated = (gateUp: Block, intermediate: number, activation: Activation, down: Block): Block =>
  chain([gateUp, gate(intermediate, activation), down])

/** `second(activation(first))`. */
export const plainMlp = (first: Block, activation: Activation, second: Block): Block =>
  chain([first, { tensors: [], on: ({ graph }, x) => activation.on(graph, x) }, second])

/** The gated MLP with `<at>.gate_proj`, `up_proj` and `down_proj` apart. */
export const gatedMlp = (at: string, { hidden, intermediate }: Shape, activation: Activation, bias: boolean): Block =>
  gated(
    beside([
      linear(`${at}.gate_proj`, hidden, intermediate, bias),
      linear(`${at}.up_proj`, hidden, intermediate, bias)
    ]),
    intermediate,
    activation,
    linear(`${at}.down_proj`, intermediate, hidden, bias)
  )
