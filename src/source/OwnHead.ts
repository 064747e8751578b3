import { Effect } from "effect"
import type { ByteRange, Tensor } from "../tensor/Tensor.ts"
import { readBytes } from "./SourceFile.ts"

// Two ranges are compared piece by piece: heads that differ do so in the first; 2 × 512 MiB that do not took 3 s of one core.
const PIECE = 2 ** 20

const sameRanges = Effect.fnUntraced(function*(a: ByteRange, b: ByteRange) {
  if (a.length !== b.length) return false
  for (let at = 0; at < a.length; at += PIECE) {
    const size = Math.min(PIECE, a.length - at)
    const left = yield* readBytes(a.file, a.offset + at, size)
    if (Buffer.compare(left, yield* readBytes(b.file, b.offset + at, size)) !== 0) return false
  }
  return true
})

// The second is lfm2's older name.
const untied = { tie_word_embeddings: false, tie_embedding: false }

const another =
  "config.json ties the output head to the embedding, but the stored lm_head.weight is another: it is used, as in transformers"

type Config = Readonly<Record<string, unknown>>

/**
 * The config by which a model is read. One that ties its head to the embedding, in a checkpoint that stores another head, is read as
 * one that does not: the stored head counts. Source: transformers 5.24, `tie_weights`.
 */
export const headRead = Effect.fn("OwnHead.headRead")(function*(config: Config, tensors: ReadonlyMap<string, Tensor>) {
  const as = (config: Config, warnings: ReadonlyArray<string>) => ({ config, warnings })
  const ties = Object.keys(untied).map((key) => config[key])
  const head = tensors.get("lm_head.weight")
  const embedding = tensors.get("model.embed_tokens.weight")
  // What is said of neither key depends on the family.
  const isUntied = ties.includes(false) && !ties.includes(true)
  if (isUntied || head === undefined || embedding === undefined) return as(config, [])
  const isPlain = head.coded === undefined && embedding.coded === undefined
  if (isPlain && head.dtype === embedding.dtype && (yield* sameRanges(head.range, embedding.range))) {
    return as(config, [])
  }
  return as({ ...config, ...untied }, ties.includes(true) ? [another] : [])
})
