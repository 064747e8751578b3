import { Effect } from "effect"
import { readBytes } from "../SourceFile.ts"
import type { CompressedGroup } from "./CompressedSettings.ts"
import type { Pieces } from "./Pieces.ts"
import type { LegacySettings } from "./Settings.ts"

/** Bytes of zero points that are looked at to tell how a whole module stores them. */
const sampleBytes = 2 ** 16

/** The byte that all of these bytes are; undefined where they differ. */
const onlyByte = Effect.fnUntraced(function*(file: string, offset: number, length: number) {
  const bytes = yield* readBytes(file, offset, length)
  const [first] = bytes
  return bytes.every((byte) => byte === first) ? first : undefined
})

/** 4-bit codes fill both halves of a byte. */
const filled = (bits: 4 | 8, code: number): number => bits === 8 ? code : code * 0x11

/** `middle`: the byte that stored zero points are made of where they stand for 0; older folders hold such in symmetric modules. */
export const refuseZeroPoints = Effect.fn("quantized.refuseZeroPoints")(
  function*(pieces: Pieces, { bits, format, symmetric }: CompressedGroup) {
    const stored = pieces.find("weight_zero_point")
    if (!symmetric || stored === undefined) return
    const middle = format === "pack-quantized" && stored.dtype === "i32" ? filled(bits, 2 ** (bits - 1)) : 0
    const { file, length, offset } = stored.range
    if (length === 0 || (yield* onlyByte(file, offset, length)) === middle) return
    const expected = "no zero points, as weights.symmetric of quantization_config is true (its default),"
    return yield* Effect.fromResult(pieces.wrong("weight_zero_point", expected, "zero points other than 0"))
  }
)

/**
 * Holds the zero points of an AutoGPTQ module against what is said of them. Version 1 stores one less than is meant, so that zero
 * points that are one off throughout are of the other version; several zero points in a module tell no version.
 */
export const checkZeroPoints = Effect.fn("quantized.checkZeroPoints")(
  function*(pieces: Pieces, { bits, method, symmetric }: LegacySettings) {
    const stored = pieces.find("qzeros")
    if (method === "awq" || stored === undefined) return
    const { file, length, offset } = stored.range
    const only = yield* onlyByte(file, offset, Math.min(length, sampleBytes))
    const middle = 2 ** (bits - 1)
    const asVersion = { gptq: middle - 1, gptq_v2: middle }
    if (only === filled(bits, asVersion[method])) return
    const other = method === "gptq" ? "gptq_v2" : "gptq"
    if (only === filled(bits, asVersion[other])) {
      const expected =
        `zero points as checkpoint_format ${method} of quantization_config has them, ${
          asVersion[method]
        } stored for the`
        + ` middle ${middle},`
      const found = `${asVersion[other]} throughout, as checkpoint_format ${other} has them`
      return yield* Effect.fromResult(pieces.wrong("qzeros", expected, found))
    }
    if (symmetric === true) {
      const expected = `zero points in the middle, as sym of quantization_config is true,`
      return yield* Effect.fromResult(pieces.wrong("qzeros", expected, "others"))
    }
  }
)
