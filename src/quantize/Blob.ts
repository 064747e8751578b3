import type { Form } from "../tensor/Coded.ts"
import { byteLength, type DType } from "../tensor/DType.ts"

/** A matrix to lay out: `[rows × columns]` as codes of a form. */
export interface BlobWeight {
  readonly name: string
  readonly rows: number
  readonly columns: number
  readonly form: Form
  /** the source holds it as `[columns × rows]` */
  readonly transposed?: boolean
}

/** A tensor to lay out as plain numbers. */
export interface BlobNumbers {
  readonly name: string
  readonly dtype: DType
  readonly shape: ReadonlyArray<number>
}

/** Bytes of a blob. */
export interface Region {
  readonly offset: number
  readonly length: number
}

/** Where a weight's numbers are in its blob; see `Form` for what each region holds. */
export interface PlacedWeight extends BlobWeight {
  /** columns rounded up to whole blocks; the code of what was added is the zero point */
  readonly padded: number
  readonly blocks: number
  readonly codes: Region
  readonly scales: Region
  /** zero points of its own, where the form stores them */
  readonly zeros: Region | undefined
  readonly minimum: Region | undefined
  readonly order: Region | undefined
}

/** Where a tensor's plain numbers are. */
export interface PlacedNumbers extends BlobNumbers {
  readonly region: Region
}

/** Zero points for all weights that have the same one throughout; a weight uses as many as it has blocks, from `offset`. */
export interface ZeroRegion extends Region {
  readonly bits: 4 | 8
  readonly zeros: "middle" | "none"
  /** two zero points of 8, one of 128, or zeros */
  readonly byte: 0x88 | 0x80 | 0
}

/** One file: all codes back to back, then all scales, then what else the forms have, each kind back to back. */
export interface BlobLayout {
  readonly weights: ReadonlyArray<PlacedWeight>
  readonly numbers: ReadonlyArray<PlacedNumbers>
  readonly zeros: ReadonlyArray<ZeroRegion>
  /** bytes of the file */
  readonly length: number
}

/** Where regions may begin: a cache line, and what vector loads like. */
const ALIGNMENT = 64

const align = (offset: number): number => Math.ceil(offset / ALIGNMENT) * ALIGNMENT

/** Bytes of the zero points of a matrix, each row beginning at a byte. */
export const zeroBytes = (bits: 4 | 8, rows: number, blocks: number): number => rows * Math.ceil((blocks * bits) / 8)

const countOf = (shape: ReadonlyArray<number>): number => shape.reduce((a, b) => a * b, 1)

/** Hands out regions of a file from its beginning. */
class Space {
  end = 0

  /** Regions of these lengths one after the other, from the next aligned byte; a length of 0 gets none. */
  take(lengths: ReadonlyArray<number>): ReadonlyArray<Region | undefined> {
    if (lengths.some((length) => length > 0)) this.end = align(this.end)
    return lengths.map((length) => {
      if (length === 0) return undefined
      const region = { offset: this.end, length }
      this.end += length
      return region
    })
  }
}

const none: Region = { offset: 0, length: 0 }

/**
 * Lays out the blob of one part. Weights keep their order and their codes touch, so that matrices that read the same input
 * (q, k, v; gate, up), of the same form, are one matrix to whoever wants it so.
 */
export const layoutBlob = (
  weights: ReadonlyArray<BlobWeight>,
  numbers: ReadonlyArray<BlobNumbers> = []
): BlobLayout => {
  const space = new Space()
  const sized = weights.map((weight) => {
    const blocks = Math.ceil(weight.columns / weight.form.block)
    return { ...weight, blocks, padded: blocks * weight.form.block }
  })
  const counts = sized.map(({ blocks, rows }) => rows * blocks)
  const perBlock = (size: (form: Form) => number) =>
    space.take(sized.map(({ form }, i) => size(form) * (counts[i] ?? 0)))
  const codes = space.take(sized.map(({ form, padded, rows }) => rows * padded * form.bits / 8))
  const halves = perBlock(({ scales }) => scales === "f16" ? 2 : 0)
  const singles = perBlock(({ scales }) => scales === "f32" ? 4 : 0)
  const minima = perBlock(({ minimum }) => minimum ? 4 : 0)
  const stored = space.take(
    sized.map(({ blocks, form, rows }) => form.zeros === "stored" ? zeroBytes(form.bits, rows, blocks) : 0)
  )
  const orders = space.take(sized.map(({ columns, form }) => form.ordered ? columns * 4 : 0))
  const zeros = ([4, 8] as const).flatMap((bits) =>
    (["middle", "none"] as const).flatMap((kind): ReadonlyArray<ZeroRegion> => {
      const users = sized.filter(({ form }) => form.bits === bits && form.zeros === kind)
      const [region] = space.take([Math.max(0, ...users.map(({ blocks, rows }) => zeroBytes(bits, rows, blocks)))])
      const byte = kind === "none" ? 0 : bits === 4 ? 0x88 : 0x80
      return region === undefined ? [] : [{ bits, zeros: kind, byte, ...region }]
    })
  )
  const placedNumbers = numbers.map((tensor) => ({
    ...tensor,
    region: space.take([byteLength(tensor.dtype, countOf(tensor.shape))])[0] ?? none
  }))
  return {
    weights: sized.map((weight, i) => ({
      ...weight,
      codes: codes[i] ?? none,
      scales: halves[i] ?? singles[i] ?? none,
      zeros: stored[i],
      minimum: minima[i],
      order: orders[i]
    })),
    numbers: placedNumbers,
    zeros,
    length: space.end
  }
}

/** Bytes of all regions that belong to one weight alone. */
export const bytesOf = ({ codes, minimum, order, scales, zeros }: PlacedWeight): number =>
  [codes, scales, zeros, minimum, order].reduce((sum, region) => sum + (region?.length ?? 0), 0)
