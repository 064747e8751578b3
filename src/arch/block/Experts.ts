import { Result, Schema } from "effect"
import { attribute, type Builder, type Ref } from "../../onnx/Builder.ts"
import type { Within } from "../../tensor/Slice.ts"
import { beside, type Block, type Draft, linear, noPiece } from "./Block.ts"
import { optional, type Read, type Shape, wrong } from "./Config.ts"
import { type Activation, gate } from "./Mlp.ts"

// Past every published model (384 in a layer, 23 thousand in all); what is larger is a damaged file, and would make us allocate for it.
const MOST_EXPERTS = 4096
const MOST_IN_ALL = 200_000

const Count = Schema.Int.pipe(
  Schema.check(
    Schema.isBetween({ minimum: 1, maximum: MOST_EXPERTS }, { message: `a whole number from 1 to ${MOST_EXPERTS}` })
  )
)

/** What a config says of its experts; keys by `expertKeys`. */
export const expertFields = {
  experts: optional(Count),
  localExperts: optional(Count),
  perToken: optional(Count)
} as const

/** Names of `expertFields` in config.json: the number of experts has two. */
export const expertKeys = {
  experts: "num_experts",
  localExperts: "num_local_experts",
  perToken: "num_experts_per_tok"
} as const

/** `expertFields` as decoded. */
interface Config {
  readonly experts?: number | null
  readonly localExperts?: number | null
  readonly perToken?: number | null
}

/** How many experts a layer has, and how many of them a token goes to. */
export interface ExpertCounts {
  readonly experts: number
  readonly perToken: number
}

/** The counts of a config, `defaults` where it does not say, checked against each other. */
export const expertCounts = (config: Config, layers: number, defaults: ExpertCounts): Read<ExpertCounts> => {
  const experts = config.experts ?? config.localExperts ?? defaults.experts
  const perToken = config.perToken ?? defaults.perToken
  const key = typeof config.experts === "number" ? "num_experts" : "num_local_experts"
  if (layers * experts > MOST_IN_ALL) {
    return Result.fail(wrong(key, `at most ${MOST_IN_ALL} in all ${layers} layers together`, `${experts}`))
  }
  return perToken > experts
    ? Result.fail(wrong("num_experts_per_tok", `at most ${key} (${experts})`, `${perToken}`))
    : Result.succeed({ experts, perToken })
}

/**
 * `x · weight + bias` of one expert, whose `weight [in × out]` and `bias [out]` lie among those of all experts in `<name>
 * [count × in × out]` and `<name>_bias [count × out]`.
 */
export const stackedLinear = ({ at, count, name }: Within, width: number, out: number): Block => {
  const weight = { name: `${name}.${at}`, shape: [width, out], within: { name, at, count } }
  const bias = { name: `${name}_bias.${at}`, shape: [out], within: { name: `${name}_bias`, at, count } }
  return {
    tensors: [weight, bias],
    on: ({ graph, weights }, x) => {
      const [w, b] = [weight, bias].map((tensor) => graph.f32(graph.weight(weights(tensor.name))))
      return graph.op("Gemm", [x, w, b])
    }
  }
}

/** Which experts a token goes to: those with the highest scores, `<router>.weight [experts × hidden]` times the token. */
export interface Routing extends ExpertCounts {
  /** name of the router: `<name>.weight` and, where `bias`, `<name>.bias [experts]` */
  readonly router: string
  readonly bias: boolean
  /** softmax over the scores of "all" experts or of the "chosen" ones: the same as over all, made to add up to 1 */
  readonly shares: "all" | "chosen"
}

const int = attribute.int

/** Scores `[tokens × experts]`. A MatMul, not a linear: rounding its weight would send tokens to other experts, to save a thousandth of a layer. */
const scored = ({ bias, router }: Routing, tensorOf: (name: string) => Ref, graph: Builder, x: Ref): Ref => {
  const product = graph.matMul(x, graph.transpose(tensorOf(`${router}.weight`), [1, 0]))
  return bias ? graph.add(product, tensorOf(`${router}.bias`)) : product
}

/** Experts of each token, best first (i64), and the share that each has in the result; both `[tokens × perToken]`. */
const routed = (graph: Builder, scores: Ref, { perToken, shares }: Routing): readonly [Ref, Ref] => {
  const most = graph.constant("per_token", "i64", [1], [perToken])
  const from = shares === "all" ? graph.softmax(scores) : scores
  const [values = noPiece(), chosen = noPiece()] = graph.ops("TopK", [from, most], { axis: int(-1) }, 2)
  return [chosen, shares === "all" ? values : graph.softmax(values)]
}

/** Places of the numbers of `x [n]` in ascending order. */
const sorted = (graph: Builder, x: Ref): Ref => {
  const [, places = noPiece()] = graph.ops("TopK", [x, graph.op("Shape", [x])], { axis: int(0), largest: int(0) }, 2)
  return places
}

/** What experts compute: matrices of their own, and what stands between these, the same for all. */
export interface Experts {
  readonly first: (expert: number) => Block
  readonly between: Block
  readonly second: (expert: number) => Block
}

/** Experts that are gated MLPs with `<at>.<expert>.gate_proj`, `up_proj` and `down_proj` apart. */
export const gatedExperts = (
  at: string,
  { hidden, intermediate }: Pick<Shape, "hidden" | "intermediate">,
  activation: Activation
): Experts => ({
  first: (expert) =>
    beside(["gate_proj", "up_proj"].map((name) => linear(`${at}.${expert}.${name}`, hidden, intermediate, false))),
  between: gate(intermediate, activation),
  second: (expert) => linear(`${at}.${expert}.down_proj`, intermediate, hidden, false)
})

/** Each block on its stretch of rows, `counts` long; the results in their order. */
const apiece = (draft: Draft, blocks: ReadonlyArray<Block>, rows: Ref, counts: Ref): Ref => {
  const { graph } = draft
  const stretches = graph.ops("Split", [rows, counts], { axis: int(0) }, blocks.length)
  return graph.concat(blocks.map((block, index) => block.on(draft, stretches[index] ?? noPiece())), 0)
}

/**
 * A mixture of experts: the sum of what the chosen experts make of a token, by their shares. Pairs of token and expert are sorted
 * by expert; each expert multiplies its stretch of them, which may be empty, so only what is chosen is computed
 * (docs/decisions/009-experts.md).
 */
export const mixture = (routing: Routing, hidden: number, { between, first, second }: Experts): Block => {
  const { bias, experts, perToken, router } = routing
  const all = (of: (expert: number) => Block) => Array.from({ length: experts }, (_, index) => of(index))
  const [firsts, seconds] = [all(first), all(second)]
  return {
    tensors: [
      { name: `${router}.weight`, shape: [experts, hidden] },
      ...(bias ? [{ name: `${router}.bias`, shape: [experts] }] : []),
      ...[...firsts, ...seconds].flatMap(({ tensors }) => tensors)
    ],
    on: (draft, x) => {
      const { graph, weights } = draft
      const scores = scored(routing, (name) => graph.f32(graph.weight(weights(name))), graph, x)
      const [chosen, shares] = routed(graph, scores, routing)
      const pairs = graph.reshape(chosen, [-1])
      const order = sorted(graph, pairs)
      const depth = graph.constant("experts", "i64", [], [experts])
      const marks = graph.op("OneHot", [pairs, depth, graph.constant("marks", "i64", [2], [0, 1])])
      const counts = graph.op("ReduceSum", [marks, graph.constant("first_axis", "i64", [1], [0])], { keepdims: int(0) })
      // pair i is of token i / perToken, rounded down as integers are
      const tokens = graph.div(order, graph.constant("pairs_per_token", "i64", [], [perToken]))
      const inner = between.on(draft, apiece(draft, firsts, graph.gather(x, tokens), counts))
      const made = apiece(draft, seconds, inner, counts)
      const places = graph.reshape(sorted(graph, order), [-1, perToken])
      const sum = graph.matMul(graph.unsqueeze(shares, [1]), graph.gather(made, places))
      return graph.reshape(sum, [-1, hidden])
    }
  }
}
