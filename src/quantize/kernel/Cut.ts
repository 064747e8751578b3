import { Result } from "effect"
import { byteLength } from "../../tensor/DType.ts"
import type { ByteRange, Tensor } from "../../tensor/Tensor.ts"
import { formatOf } from "../format/registry.ts"
import { KernelError, NotQuantizable } from "../KernelError.ts"
import { type KernelDType, kernelDTypes } from "./Task.ts"

/** Largest piece of a tensor that one worker takes at once, in bytes: some 5 ms. */
const PIECE = 16 * 2 ** 20

/** A tensor that the kernels do not take. */
export const refuse = (tensor: Tensor, expected: string, found: string) =>
  Result.fail(new KernelError({ subject: tensor.name, reason: new NotQuantizable({ expected, found }) }))

/** The dtype of a tensor whose plain numbers the kernels read. */
export const numeric = ({ dtype }: Tensor): KernelDType | undefined => kernelDTypes.find((name) => name === dtype)

const countOf = (shape: ReadonlyArray<number>): number => shape.reduce((a, b) => a * b, 1)

/** The numbers of a plain tensor, whose bytes have to be as many. */
export const numbersOf = (
  tensor: Tensor
): Result.Result<{ readonly dtype: KernelDType; readonly count: number }, KernelError> => {
  const dtype = numeric(tensor)
  if (dtype === undefined) return refuse(tensor, kernelDTypes.join(", "), tensor.dtype)
  const count = countOf(tensor.shape)
  if (byteLength(dtype, count) !== tensor.range.length) {
    return refuse(
      tensor,
      `${byteLength(dtype, count)} bytes for [${tensor.shape.join(" × ")}]`,
      `${tensor.range.length}`
    )
  }
  return Result.succeed({ dtype, count })
}

interface Sides {
  readonly rows: number
  readonly columns: number
}

/** Rows and columns of a tensor that has to be a matrix. */
export const sidesOf = (tensor: Tensor): Result.Result<Sides, KernelError> => {
  const [rows = 0, columns = 0, ...rest] = tensor.shape
  return rows > 0 && columns > 0 && rest.length === 0
    ? Result.succeed({ rows, columns })
    : refuse(tensor, "a matrix", `[${tensor.shape.join(" × ")}]`)
}

/** A plain matrix. */
export const matrixOf = (tensor: Tensor): Result.Result<Sides & { readonly dtype: KernelDType }, KernelError> =>
  Result.flatMap(numbersOf(tensor), ({ dtype }) => Result.map(sidesOf(tensor), (sides) => ({ ...sides, dtype })))

/** Rows along the last dimension of a coded tensor; its pieces have to have the bytes that its format needs. */
export const codedRowsOf = (tensor: Tensor): Result.Result<Sides, KernelError> => {
  const { coded, shape } = tensor
  if (coded === undefined) return refuse(tensor, "a coded tensor", `plain ${tensor.dtype}`)
  const columns = shape.at(-1) ?? 1
  const rows = countOf(shape) / columns
  const wrong = Object.entries(formatOf(tensor).sizes(tensor)).find(([name, bytes]) =>
    coded.pieces[name]?.range.length !== bytes
  )
  if (wrong !== undefined) {
    const [name, bytes] = wrong
    const found = coded.pieces[name]?.range.length
    return refuse(
      tensor,
      `${coded.format} for [${shape.join(" × ")}]${Number.isInteger(bytes) ? ` in ${bytes} bytes of ${name}` : ""}`,
      found === undefined ? `no ${name}` : `${found} bytes of ${name}`
    )
  }
  if (coded.interleavedHeads > 0 && rows % (2 * coded.interleavedHeads) !== 0) {
    return refuse(tensor, `an even number of rows for each of ${coded.interleavedHeads} heads`, `${rows} rows`)
  }
  return Number.isInteger(rows) && rows > 0
    ? Result.succeed({ rows, columns })
    : refuse(tensor, "rows", `[${shape.join(" × ")}]`)
}

/** Work on a byte range, cut where units of `unit` bytes begin: the range of each piece and the units before it. */
export const pieces = (
  range: ByteRange,
  unit: number
): ReadonlyArray<{ readonly range: ByteRange; readonly before: number }> => {
  const units = Math.max(1, Math.floor(PIECE / unit))
  return Array.from({ length: Math.ceil(range.length / (units * unit)) }, (_, i) => {
    const start = i * units * unit
    return {
      before: i * units,
      range: { file: range.file, offset: range.offset + start, length: Math.min(units * unit, range.length - start) }
    }
  })
}

/** Rows of a coded tensor, cut into pieces that take about as long as those of plain numbers. */
export const rowPieces = (
  { range }: Tensor,
  rows: number
): ReadonlyArray<{ readonly first: number; readonly count: number }> => {
  const most = Math.max(1, Math.floor(PIECE / (range.length / rows)))
  return Array.from({ length: Math.ceil(rows / most) }, (_, i) => ({
    first: i * most,
    count: Math.min(most, rows - i * most)
  }))
}
