import { byteLength } from "../../../tensor/DType.ts"
import type { Files } from "../Files.ts"
import type { Instance } from "../Instance.ts"
import type { Destination, KernelDType, Outcome, Place } from "../Task.ts"

/** What is made of f32 numbers, `most` rows at a time. */
export interface Sink {
  /** bytes of its buffers */
  readonly sizes: ReadonlyArray<number>
  /** blocks of a row, where kernels count them */
  readonly blocks: number
  /** makes it of `count` rows at `values`, and looks at them */
  readonly kernel: (buffers: ReadonlyArray<number>, values: number, count: number) => void
  /** writes what was made as rows `row` … */
  readonly write: (buffers: ReadonlyArray<number>, row: number, count: number) => void
}

interface Setting {
  readonly instance: Instance
  readonly files: Files
  readonly columns: number
  readonly most: number
}

const convert = ({ columns, files, instance, most }: Setting, dtype: KernelDType, to: Place): Sink => {
  const { exports } = instance
  const bytes = byteLength(dtype, columns)
  const write = files.destination(to.file)
  return {
    sizes: [most * bytes, most * columns * 4],
    blocks: 0,
    kernel: ([made = 0, back = 0], values, count) => {
      const numbers = count * columns
      exports.scan_f32(values, numbers)
      if (dtype === "f32") {
        instance.bytes.copyWithin(made, values, values + numbers * 4)
        exports.differ(values, values, numbers)
      } else {
        exports[`narrow_${dtype}`](values, numbers, made)
        exports[`widen_${dtype}`](made, numbers, back)
        // a number may have become infinite
        exports[`scan_${dtype}`](made, numbers)
        exports.differ(values, back, numbers)
      }
    },
    write: ([made = 0], row, count) => write(instance.bytes, made, count * bytes, to.offset + row * bytes)
  }
}

const quantise = ({ columns, files, instance, most }: Setting, bits: 4 | 8, to: Destination): Sink => {
  const { exports } = instance
  const blocks = Math.ceil(columns / 32)
  const codeBytes = blocks * 4 * bits, scaleBytes = blocks * 2
  const write = files.destination(to.file)
  return {
    sizes: [most * codeBytes, most * scaleBytes, most * columns * 4],
    blocks,
    kernel: ([codes = 0, scales = 0, back = 0], values, count) => {
      exports[bits === 4 ? "int4_f32" : "int8_f32"](values, count, columns, codes, scales)
      exports.expand(count, columns, blocks, 32, bits, codes, 0, 2 ** (bits - 1), scales, 1, 0, back)
      exports.differ(values, back, count * columns)
    },
    write: ([codes = 0, scales = 0], row, count) => {
      write(instance.bytes, codes, count * codeBytes, to.codes + row * codeBytes)
      write(instance.bytes, scales, count * scaleBytes, to.scales + row * scaleBytes)
    }
  }
}

const byRows = ({ columns, files, instance, most }: Setting, to: Destination): Sink => {
  const { exports } = instance
  const write = files.destination(to.file)
  return {
    sizes: [most * columns, most * 2, most * columns * 4],
    blocks: 0,
    kernel: ([codes = 0, scales = 0, back = 0], values, count) => {
      exports.rows_f32(values, count, columns, codes, scales)
      exports.expand_rows(count, columns, codes, scales, back)
      exports.differ(values, back, count * columns)
    },
    write: ([codes = 0, scales = 0], row, count) => {
      write(instance.bytes, codes, count * columns, to.codes + row * columns)
      write(instance.bytes, scales, count * 2, to.scales + row * 2)
    }
  }
}

/** What an outcome makes of numbers. */
export const sinkOf = (setting: Setting, outcome: Exclude<Outcome, { readonly kind: "recode" }>): Sink => {
  switch (outcome.kind) {
    case "convert":
      return convert(setting, outcome.dtype, outcome.to)
    case "blocks":
      return quantise(setting, outcome.bits, outcome.to)
    case "rows":
      return byRows(setting, outcome.to)
    case "scan": {
      const { columns, instance } = setting
      return {
        sizes: [],
        blocks: 0,
        kernel: (_, values, count) => instance.exports.scan_f32(values, count * columns),
        write: () => {}
      }
    }
  }
}
