import { attribute, type Ref } from "../../onnx/Builder.ts"
import type { Block, Draft } from "./Block.ts"

/** The value that the head gives; a linker finds it by this name where the graph's output is the token. */
export const LOGITS = "logits"

/** A head: `x · weightᵀ` with `weight [vocabulary × hidden]`, which may be the embedding's, and `after` it where there is something: `[rows × vocabulary]`, named `logits`. */
const headWith =
  (after: ((draft: Draft, product: Ref) => Ref) | undefined) =>
  (weight: string, hidden: number, vocabulary: number): Block => ({
    tensors: [{ name: weight, shape: [vocabulary, hidden] }],
    on: (draft, x) => {
      const { graph, weights } = draft
      const name = after === undefined ? LOGITS : "product"
      const inputs = [x, graph.f32(graph.weight(weights(weight)))]
      const product = graph.op("Gemm", inputs, { transB: attribute.int(1) }, 1, { name })
      return after === undefined ? product : after(draft, product)
    }
  })

const times = ({ graph }: Draft, x: Ref, factor: number): Ref =>
  graph.op("Mul", [x, graph.constant("factor", "f32", [], [factor])], {}, 1, { name: LOGITS })

/** Logits are `x · weightᵀ`. */
export const head = headWith(undefined)

/** Logits are `factor · x · weightᵀ`. */
export const scaledHead = (factor: number) => headWith((draft, product) => times(draft, product, factor))

/** Logits are `cap · tanh(x · weightᵀ / cap)`. Source: transformers 5.23, models/gemma2. */
export const cappedHead = (cap: number) =>
  headWith((draft, product) => {
    const { graph } = draft
    return times(draft, graph.tanh(graph.div(product, graph.constant("cap", "f32", [], [cap]))), cap)
  })
