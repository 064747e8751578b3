import type { Tensor } from "../../tensor/Tensor.ts"
import type { Format } from "./Format.ts"
import { blockFormat } from "./gguf/Block.ts"
import { blocks } from "./gguf/registry.ts"
import { floatFormats } from "./quantized/floats.ts"
import { integerFormats } from "./quantized/integers.ts"
import { transposedFormat } from "./transposed.ts"

/** Every storage format that is read. */
export const formats: ReadonlyArray<Format> = [
  ...blocks.map(blockFormat),
  ...integerFormats,
  ...floatFormats,
  transposedFormat
]

/** The format of a coded tensor. A name that no format has is a defect: sources name only those that are listed. */
export const formatOf = ({ coded, name }: Tensor): Format => {
  const format = formats.find((one) => one.name === coded?.format)
  if (format === undefined) throw new Error(`${name}: no storage format ${coded?.format ?? "(plain)"}`)
  return format
}
