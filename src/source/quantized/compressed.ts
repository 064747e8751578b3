import { Effect, Result } from "effect"
import type { Tensor } from "../../tensor/Tensor.ts"
import type { SourceError } from "../SourceError.ts"
import { type CompressedGroup, type Grouping, nvfp4Group } from "./CompressedSettings.ts"
import { orderedBy, readInts } from "./GroupIndex.ts"
import { checkGroup, type Pieces, scaleDTypes, weightOf } from "./Pieces.ts"
import { refuseZeroPoints } from "./ZeroPoints.ts"

/** Bits of a word that codes are packed into. */
const wordBits = 32

/** Columns that share a scale. */
const groupOf = (grouping: Grouping, columns: number): number => typeof grouping === "number" ? grouping : columns

/** Scales: one a group of each row, one a row, or one in all. */
const scalesOf = (pieces: Pieces, grouping: Grouping, rows: number, columns: number) => {
  if (grouping === "tensor") return pieces.shaped("weight_scale", scaleDTypes, [1], [])
  if (grouping === "channel") return pieces.shaped("weight_scale", scaleDTypes, [rows, 1], [rows])
  return Result.flatMap(
    checkGroup(pieces, grouping, columns),
    () => pieces.shaped("weight_scale", scaleDTypes, [rows, columns / grouping])
  )
}

/** Codes of 4 or 8 bits in words along the row; zero points in words along the rows. */
const packed = Effect.fn("quantized.packed")(function*(pieces: Pieces, setting: CompressedGroup) {
  const { bits, grouping, symmetric } = setting
  const inWord = wordBits / bits
  const words = yield* Effect.fromResult(pieces.take("weight_packed", ["i32"], 2))
  const shape = yield* Effect.fromResult(pieces.shaped("weight_shape", ["i64", "i32"], [2]))
  const [rows = 0, columns = 0] = yield* readInts(shape)
  const [packedRows = 0, packedColumns = 0] = words.shape
  if (rows !== packedRows || !(columns > 0) || Math.ceil(columns / inWord) !== packedColumns) {
    return yield* Effect.fromResult(
      pieces.wrong(
        "weight_shape",
        `[${packedRows}, ${packedColumns * inWord}], which weight_packed holds,`,
        `[${rows}, ${columns}]`
      )
    )
  }
  const scale = yield* Effect.fromResult(scalesOf(pieces, grouping, rows, columns))
  const group = groupOf(grouping, columns)
  const zeroPoint = symmetric
    ? undefined
    : yield* Effect.fromResult(
      pieces.shaped("weight_zero_point", ["i32"], [
        Math.ceil(rows / inWord),
        grouping === "tensor" ? 1 : columns / group
      ])
    )
  if (setting.ordered && typeof grouping === "number" && pieces.find("weight_g_idx") === undefined) {
    const expected = "the group of each column, as weights.actorder of quantization_config is group,"
    return yield* Effect.fromResult(pieces.wrong("weight_g_idx", expected, "no such tensor"))
  }
  const index = pieces.find("weight_g_idx") === undefined
    ? undefined
    : yield* Effect.fromResult(pieces.shaped("weight_g_idx", ["i32"], [columns]))
  const ordered = index === undefined
    ? false
    : yield* Effect.fromResult(orderedBy(pieces, "weight_g_idx", yield* readInts(index), group, true))
  if (ordered && !setting.ordered) {
    const expected = "no order of its own, as weights.actorder of quantization_config is not group,"
    return yield* Effect.fromResult(pieces.wrong("weight_g_idx", expected, "another order of the columns"))
  }
  return weightOf(pieces, { format: "packed", dtype: "f32", rows, columns, bits, group, ordered }, {
    packed: words,
    scale,
    zero_point: zeroPoint,
    g_idx: ordered ? index : undefined
  })
})

/** One i8 a number. */
const int8 = (pieces: Pieces, { grouping, symmetric }: CompressedGroup): Result.Result<Tensor, SourceError> =>
  Result.gen(function*() {
    const codes = yield* pieces.take("weight", ["i8"], 2)
    const [rows = 0, columns = 0] = codes.shape
    const scale = yield* scalesOf(pieces, grouping, rows, columns)
    const zeroPoint = symmetric
      ? undefined
      : yield* pieces.shaped("weight_zero_point", ["i8"], scale.shape)
    if (pieces.find("weight_g_idx") !== undefined) {
      return yield* pieces.wrong(
        "weight_g_idx",
        "none: int-quantized weights are read in the order of their groups,",
        "one"
      )
    }
    const group = groupOf(grouping, columns)
    return weightOf(pieces, { format: "int8", dtype: "f32", rows, columns, bits: 8, group, ordered: false }, {
      codes,
      scale,
      zero_point: zeroPoint
    })
  })

/** One f8_e4m3 a number. */
const fp8 = (pieces: Pieces, { grouping }: CompressedGroup): Result.Result<Tensor, SourceError> =>
  Result.gen(function*() {
    const codes = yield* pieces.take("weight", ["f8_e4m3"], 2)
    const [rows = 0, columns = 0] = codes.shape
    const scale = yield* scalesOf(pieces, grouping, rows, columns)
    const group = groupOf(grouping, columns)
    return weightOf(pieces, { format: "fp8", dtype: "bf16", rows, columns, bits: 8, group, ordered: false }, {
      codes,
      scale
    })
  })

/** Two 4-bit floats a byte, one f8_e4m3 scale for 16 of them, one f32 for all that divides the scales. */
const nvfp4 = (pieces: Pieces): Result.Result<Tensor, SourceError> =>
  Result.gen(function*() {
    const bytes = yield* pieces.take("weight_packed", ["u8"], 2)
    const [rows = 0, packedColumns = 0] = bytes.shape
    const columns = packedColumns * 2
    yield* checkGroup(pieces, nvfp4Group, columns)
    const scale = yield* pieces.shaped("weight_scale", ["f8_e4m3"], [rows, columns / nvfp4Group])
    const global = yield* pieces.shaped("weight_global_scale", ["f32"], [1], [])
    const shape = { rows, columns, bits: 4, group: nvfp4Group, ordered: false } as const
    return weightOf(pieces, { format: "nvfp4", dtype: "bf16", ...shape }, {
      packed: bytes,
      scale,
      global_scale: global
    })
  })

const assembled = (pieces: Pieces, group: CompressedGroup) => {
  switch (group.format) {
    case "pack-quantized":
      return packed(pieces, group)
    case "int-quantized":
      return Effect.fromResult(int8(pieces, group))
    case "float-quantized":
      return Effect.fromResult(fp8(pieces, group))
    case "nvfp4-pack-quantized":
      return Effect.fromResult(nvfp4(pieces))
  }
}

/** The weight of a module that compressed-tensors stored, every piece checked, and held against the settings. */
export const compressedWeight = (pieces: Pieces, group: CompressedGroup) =>
  Effect.tap(assembled(pieces, group), () => refuseZeroPoints(pieces, group))

/** Ends of the names of a quantised module's tensors, with a dot before each. */
export const compressedSuffixes: ReadonlyArray<string> = [
  "weight_packed",
  "weight_scale",
  "weight_shape",
  "weight_zero_point",
  "weight_g_idx",
  "weight_global_scale"
]

/** Tensors for activations and caches, which are not read. */
export const activationSuffixes: ReadonlyArray<string> = [
  "input_scale",
  "input_zero_point",
  "input_global_scale",
  "output_scale",
  "output_zero_point",
  "k_scale",
  "v_scale",
  "q_scale"
]
