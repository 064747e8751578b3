import type { Form } from "../../../tensor/Coded.ts"
import { fromBf16, fromF16 } from "../../../tensor/Float.ts"
import { integerFormats } from "../../format/quantized/integers.ts"
import { groupReader, integerForm, orderOf, pieceOf, readForm, sidesOf } from "../../format/quantized/Layout.ts"
import {
  type Aside,
  awqCodes,
  gptqCodes,
  groupScales,
  groupZeros,
  int8Zeros,
  packedZeros,
  rowCodes,
  rowScales,
  type Stored
} from "./Codes.ts"
import type { Addresses, CodeRows, Family, Source } from "./Rows.ts"
import { arrangeRow } from "./Words.ts"

/** Bytes of a scale as it is stored. */
const widthOf = (source: Source): 2 | 4 => pieceOf(source.tensor, "scale")?.dtype === "f32" ? 4 : 2

interface Layout {
  readonly codes: Stored
  readonly scales: Aside
  readonly zeros: (source: Source) => Aside
}

const layouts: Readonly<Record<string, (source: Source) => Layout>> = {
  packed: (source) => ({ codes: rowCodes(source), scales: rowScales(source, widthOf(source)), zeros: packedZeros }),
  int8: (source) => ({ codes: rowCodes(source), scales: rowScales(source, widthOf(source)), zeros: int8Zeros }),
  gptq: (source) => ({ codes: gptqCodes(source), scales: groupScales(source, widthOf(source)), zeros: groupZeros }),
  gptq_v2: (source) => ({ codes: gptqCodes(source), scales: groupScales(source, widthOf(source)), zeros: groupZeros }),
  awq: (source) => ({ codes: awqCodes(source), scales: groupScales(source, widthOf(source)), zeros: groupZeros })
}

/** Which column each place gets; the same stays at `scratch` as i32. */
const readOrder = ({ columns, instance, piece, tensor }: Source, scratch: number): Int32Array => {
  piece("g_idx")(scratch, 0, columns * 4)
  const order = orderOf(groupReader(tensor, instance.bytes.slice(scratch, scratch + columns * 4)), columns)
  instance.bytes.set(new Uint8Array(order.buffer), scratch)
  return order
}

/** What of a scale goes where: bits of our f16 or f32, each as often as a group has blocks. */
const writeScales = (
  { columns, instance, tensor }: Source,
  form: Form,
  scaleOf: (row: number, group: number) => number,
  count: number,
  to: number
): void => {
  const { group } = sidesOf(tensor)
  const { buffer } = instance.exports.memory
  const blocks = Math.ceil(columns / form.block)
  const halves = new Uint16Array(buffer), singles = new Uint32Array(buffer)
  const isBf16 = pieceOf(tensor, "scale")?.dtype === "bf16"
  for (let row = 0; row < count; row++) {
    for (let block = 0; block < blocks; block++) {
      const bits = scaleOf(row, Math.floor(block * form.block / group)), place = row * blocks + block
      if (form.scales === "f16") halves[to / 2 + place] = bits
      else singles[to / 4 + place] = isBf16 ? bits << 16 : bits
    }
  }
}

/** Zero points of their own, or what stands for them: a minimum. */
const writeZeros = (
  { columns, instance, tensor }: Source,
  form: Form,
  zeroOf: (row: number, group: number) => number,
  scaleOf: (row: number, group: number) => number,
  count: number,
  to: Addresses
): void => {
  const { group } = sidesOf(tensor)
  const blocks = Math.ceil(columns / form.block)
  const rowBytes = Math.ceil(blocks * form.bits / 8)
  const minima = new Float32Array(instance.exports.memory.buffer)
  const decode = pieceOf(tensor, "scale")?.dtype === "f16" ? fromF16 : fromBf16
  if (form.zeros === "stored") instance.bytes.fill(0, to.zeros, to.zeros + count * rowBytes)
  for (let row = 0; row < count; row++) {
    for (let block = 0; block < blocks; block++) {
      const of = Math.floor(block * form.block / group)
      const zero = zeroOf(row, of)
      if (form.minimum) minima[to.minimum / 4 + row * blocks + block] = (8 - zero) * decode(scaleOf(row, of))
      else if (form.bits === 8) instance.bytes[to.zeros + row * rowBytes + block] = zero
      else {
        const at = to.zeros + row * rowBytes + (block >> 1)
        instance.bytes[at] = (instance.bytes[at] ?? 0) | zero << (block % 2 * 4)
      }
    }
  }
}

const open = (source: Source): CodeRows => {
  const { columns, instance, most, tensor } = source
  const layout = layouts[source.coded.format]?.(source)
  if (layout === undefined) throw new Error(`${tensor.name}: no layout ${source.coded.format}`)
  const { codes, scales } = layout
  const zeros = pieceOf(tensor, "zero_point") === undefined ? undefined : layout.zeros(source)
  const form = integerForm(tensor) ?? readForm(tensor)
  const padded = Math.ceil(columns / form.block) * form.block * form.bits / 8
  const isSame = !form.ordered && padded === codes.rowBytes && padded === columns * form.bits / 8
  const middle = 2 ** (form.bits - 1)
  const own = [columns * 4, isSame ? 0 : most * codes.rowBytes]
  let order: Int32Array | undefined
  const orderAt = (scratch: number): Int32Array => order ??= readOrder(source, scratch)
  return {
    kind: "codes",
    form,
    low: 0,
    high: 2 ** form.bits - 1,
    sizes: [...own, ...codes.sizes, ...scales.sizes, ...zeros?.sizes ?? []],
    read: ([scratch = 0, raw = 0, ...buffers], first, count, to) => {
      const ofCodes = buffers.slice(0, codes.sizes.length)
      const ofScales = buffers.slice(codes.sizes.length, codes.sizes.length + scales.sizes.length)
      const ofZeros = buffers.slice(codes.sizes.length + scales.sizes.length)
      const by = form.ordered ? { columns: orderAt(scratch), at: scratch } : undefined
      codes.read(ofCodes, first, count, isSame ? to.codes : raw)
      const scaleOf = scales.read(ofScales, first, count)
      const zeroOf = zeros?.read(ofZeros, first, count)
      if (!isSame) {
        const arrangement = { bits: form.bits, columns, order: by, padded }
        for (let row = 0; row < count; row++) {
          const zero = form.zeros === "stored" ? zeroOf?.(row, 0) ?? middle : middle
          arrangeRow(instance, arrangement, raw + row * codes.rowBytes, to.codes + row * padded, zero)
        }
      }
      writeScales(source, form, scaleOf, count, to.scales)
      if (zeroOf !== undefined) writeZeros(source, form, zeroOf, scaleOf, count, to)
    },
    order: form.ordered ? ([scratch = 0]) => orderAt(scratch) : undefined
  }
}

/** Integer codes of compressed-tensors, AutoGPTQ and AutoAWQ. */
export const integers: Family = {
  reads: (format) => integerFormats.some(({ name }) => name === format),
  open
}
