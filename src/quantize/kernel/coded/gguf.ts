import { interleavedRow } from "../../../tensor/Coded.ts"
import type { Block } from "../../format/gguf/Block.ts"
import { blocks } from "../../format/gguf/registry.ts"
import { recodedBlocks } from "../Instance.ts"
import type { Family, Source } from "./Rows.ts"

const prefix = "gguf/"

const blockOf = (format: string): Block => {
  const block = blocks.find(({ name }) => prefix + name === format)
  if (block === undefined) throw new Error(`no block ${format}`)
  return block
}

/** Reads stored rows to an address in the model's order. */
const reader = ({ coded, piece, rows }: Source, rowBytes: number) => {
  const read = piece("blocks")
  return (address: number, first: number, count: number): void => {
    if (coded.interleavedHeads === 0) return read(address, first * rowBytes, count * rowBytes)
    for (let row = 0; row < count; row++) {
      read(address + row * rowBytes, interleavedRow(first + row, rows, coded.interleavedHeads) * rowBytes, rowBytes)
    }
  }
}

/** Types of GGUF: repacked by a kernel where codes take them, else decoded by their reference, which takes some 30 ns a number. */
export const gguf: Family = {
  reads: (format) => format.startsWith(prefix),
  open: (source) => {
    const { columns, instance, most } = source
    const { bytes, codes, name, numbers, plain, values } = blockOf(source.coded.format)
    const inRow = columns / numbers
    const read = reader(source, inRow * bytes)
    const sizes = [most * inRow * bytes]
    const kernel = recodedBlocks.find((one) => one === name)
    if (codes !== undefined && kernel !== undefined) {
      const recode = instance.exports[`recode_${kernel}`]
      return {
        kind: "codes",
        ...codes,
        sizes,
        read: ([at = 0], first, count, to) => {
          read(at, first, count)
          recode(at, count * inRow, to.codes, to.scales, to.minimum)
        }
      }
    }
    return {
      kind: "floats",
      sizes,
      read: ([at = 0], first, count, to) => {
        read(at, first, count)
        if (plain === "f32") instance.bytes.copyWithin(to, at, at + count * columns * 4)
        else if (plain !== undefined) instance.exports[`widen_${plain}`](at, count * columns, to)
        else instance.floats(to, values(instance.bytes.slice(at, at + count * inRow * bytes), count * columns))
      }
    }
  }
}
