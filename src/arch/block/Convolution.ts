import type { Ref } from "../../onnx/Builder.ts"
import { type Block, noPiece } from "./Block.ts"
import type { ConvolutionLayer } from "./Layer.ts"

/** Blocks of a layer with a short convolution in attention's place. */
export interface ShortConvolution {
  readonly inputNorm: Block
  /** what is multiplied before the convolution, after it, and what goes in, side by side: `[tokens × 3·hidden]` */
  readonly input: Block
  /** `<name>.weight [hidden × 1 × size]` and, where `bias`, `<name>.bias [hidden]`; the last number of a row is of the token itself */
  readonly kernel: { readonly name: string; readonly size: number; readonly bias: boolean }
  readonly output: Block
  readonly middleNorm: Block
  readonly mlp: Block
}

/**
 * `x + output(after · convolution(before · inner))`, then `x + mlp(norm(x))`; each of the `hidden` numbers is mixed with its own from the
 * `size − 1` tokens before. The state is their `before · inner`. Source: transformers 5.23, models/lfm2.
 */
export const shortConvolution = (
  hidden: number,
  { input, inputNorm, kernel: { bias, name, size }, middleNorm, mlp, output }: ShortConvolution
): ConvolutionLayer => ({
  facts: { kind: "convolution", stateRows: size - 1, stateWidth: hidden },
  tensors: [
    ...inputNorm.tensors,
    ...input.tensors,
    { name: `${name}.weight`, shape: [hidden, 1, size] },
    ...(bias ? [{ name: `${name}.bias`, shape: [hidden] }] : []),
    ...[output, middleNorm, mlp].flatMap(({ tensors }) => tensors)
  ],
  conv: (draft, x, state, rows) => {
    const { graph, weights } = draft
    const wide = input.on(draft, inputNorm.on(draft, x))
    const [before = noPiece(), after = noPiece(), inner = noPiece()] = graph.split(wide, [hidden, hidden, hidden], 1)
    const all = graph.concat([state, graph.mul(before, inner)], 0)
    const newest = graph.constant("newest", "i64", [size - 1], Array.from({ length: size - 1 }, (_, i) => i - size + 1))
    const channels = graph.unsqueeze(graph.transpose(all, [1, 0]), [0])
    const mixed = graph.depthwise(channels, weights(`${name}.weight`), bias ? weights(`${name}.bias`) : undefined)
    const gated = graph.mul(after, graph.transpose(graph.squeeze(mixed, [0]), [1, 0]))
    const wanted = (ref: Ref) => rows === undefined ? ref : graph.gather(ref, rows)
    const sum = graph.add(wanted(x), output.on(draft, wanted(gated)))
    return { state: graph.gather(all, newest), hidden: graph.add(sum, mlp.on(draft, middleNorm.on(draft, sum))) }
  }
})
