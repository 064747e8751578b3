import { Effect } from "effect"
import { orderedBy, readInts } from "./GroupIndex.ts"
import { checkGroup, type Pieces, scaleDTypes, weightOf } from "./Pieces.ts"
import type { LegacySettings } from "./Settings.ts"
import { checkZeroPoints } from "./ZeroPoints.ts"

/** Bits of a word that codes are packed into. */
const wordBits = 32

/** Ends of the names of a quantised module's tensors. */
export const legacySuffixes: ReadonlyArray<string> = ["qweight", "qzeros", "scales", "g_idx"]

/** The weight of a module as AutoGPTQ or AutoAWQ stored it (input by output), every piece checked. */
export const legacyWeight = Effect.fn("quantized.legacy")(function*(pieces: Pieces, settings: LegacySettings) {
  const { bits, grouping, method } = settings
  const inWord = wordBits / bits
  const words = yield* Effect.fromResult(pieces.take("qweight", ["i32"], 2))
  const [height = 0, width = 0] = words.shape
  const columns = method === "awq" ? height : height * inWord
  const rows = method === "awq" ? width * inWord : width
  const group = grouping === "channel" ? columns : grouping
  yield* Effect.fromResult(checkGroup(pieces, group, columns))
  const groups = columns / group
  if (rows % inWord !== 0) {
    return yield* Effect.fromResult(pieces.wrong("qweight", `a multiple of ${inWord} rows`, `${rows}`))
  }
  const zeroPoint = yield* Effect.fromResult(pieces.shaped("qzeros", ["i32"], [groups, rows / inWord]))
  const scale = yield* Effect.fromResult(pieces.shaped("scales", scaleDTypes, [groups, rows]))
  const index = method === "awq" || pieces.find("g_idx") === undefined
    ? undefined
    : yield* Effect.fromResult(pieces.shaped("g_idx", ["i32"], [columns]))
  if (settings.ordered === true && index === undefined) {
    return yield* Effect.fromResult(pieces.take("g_idx", ["i32"], 1))
  }
  const ordered = index === undefined
    ? false
    : yield* Effect.fromResult(orderedBy(pieces, "g_idx", yield* readInts(index), group, false))
  if (ordered && settings.ordered === false) {
    const expected = "groups side by side, as desc_act of quantization_config is false,"
    return yield* Effect.fromResult(pieces.wrong("g_idx", expected, "another order of the columns"))
  }
  yield* checkZeroPoints(pieces, settings)
  return weightOf(pieces, { format: method, dtype: "f32", rows, columns, bits, group, ordered }, {
    packed: words,
    scale,
    zero_point: zeroPoint,
    g_idx: ordered ? index : undefined
  })
})
