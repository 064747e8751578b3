import { attribute } from "../../onnx/Builder.ts"
import type { Block } from "./Block.ts"

/** The value that the head gives; a linker finds it by this name where the graph's output is the token. */
export const LOGITS = "logits"

/** `x · weightᵀ` with `weight [vocabulary × hidden]`, which may be the embedding's: `[rows × vocabulary]`, named `logits`. */
export const head = (weight: string, hidden: number, vocabulary: number): Block => ({
  tensors: [{ name: weight, shape: [vocabulary, hidden] }],
  on: ({ graph, weights }, x) =>
    graph.op("Gemm", [x, graph.f32(graph.weight(weights(weight)))], { transB: attribute.int(1) }, 1, { name: LOGITS })
})
