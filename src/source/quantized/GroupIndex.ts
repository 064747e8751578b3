import { Effect, Result } from "effect"
import type { Tensor } from "../../tensor/Tensor.ts"
import type { SourceError } from "../SourceError.ts"
import { readBytes } from "../SourceFile.ts"
import type { Pieces } from "./Pieces.ts"

/** The numbers of a small i32 or i64 tensor; its header was checked against the file. */
export const readInts = Effect.fn("quantized.readInts")(function*({ dtype, range }: Tensor) {
  const bytes = yield* readBytes(range.file, range.offset, range.length)
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  return dtype === "i64"
    ? Array.from({ length: Math.floor(bytes.length / 8) }, (_, i) => Number(view.getBigInt64(i * 8, true)))
    : Array.from({ length: Math.floor(bytes.length / 4) }, (_, i) => view.getInt32(i * 4, true))
})

/**
 * Whether columns lie in another order than that of their groups. Every group must have `group` columns. `unset`: whether -1
 * throughout says that there is no index, as compressed-tensors has it.
 */
export const orderedBy = (
  pieces: Pieces,
  suffix: string,
  index: ReadonlyArray<number>,
  group: number,
  unset: boolean
): Result.Result<boolean, SourceError> => {
  if (unset && index.every((one) => one === -1)) return Result.succeed(false)
  const groups = index.length / group
  const counts = Array.from({ length: groups }, () => 0)
  for (const one of index) {
    if (!(one >= 0 && one < groups)) return pieces.wrong(suffix, `groups 0 to ${groups - 1}`, `group ${one}`)
    counts[one] = (counts[one] ?? 0) + 1
  }
  const uneven = counts.findIndex((count) => count !== group)
  return uneven >= 0
    ? pieces.wrong(suffix, `${group} columns in group ${uneven}`, `${counts[uneven] ?? 0}`)
    : Result.succeed(index.some((one, column) => one !== Math.floor(column / group)))
}
