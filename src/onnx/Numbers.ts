import { byteLength, type DType } from "../tensor/DType.ts"
import type { Initializer } from "./Graph.ts"

/** Constants that shape inference may read (axes, sizes, shapes) are not longer than this. */
const smallest = 64

type Put = (view: DataView, at: number, value: number) => void
type Take = (view: DataView, at: number) => number

/** How one number of a dtype stands in little-endian bytes; dtypes that need more than a DataView are absent. */
const codecs: Readonly<Partial<Record<DType, { readonly put: Put; readonly take: Take }>>> = {
  f32: { put: (view, at, value) => view.setFloat32(at, value, true), take: (view, at) => view.getFloat32(at, true) },
  f16: { put: (view, at, value) => view.setFloat16(at, value, true), take: (view, at) => view.getFloat16(at, true) },
  i32: { put: (view, at, value) => view.setInt32(at, value, true), take: (view, at) => view.getInt32(at, true) },
  i64: {
    put: (view, at, value) => view.setBigInt64(at, BigInt(value), true),
    take: (view, at) => Number(view.getBigInt64(at, true))
  },
  u8: { put: (view, at, value) => view.setUint8(at, value), take: (view, at) => view.getUint8(at) },
  i8: { put: (view, at, value) => view.setInt8(at, value), take: (view, at) => view.getInt8(at) },
  bool: { put: (view, at, value) => view.setUint8(at, value), take: (view, at) => view.getUint8(at) }
}

/** Little-endian bytes of numbers; throws (a defect) for dtypes other than f32, f16, i32, i64, u8, i8 and bool. */
export const bytesOf = (dtype: DType, values: ReadonlyArray<number>): Uint8Array => {
  const codec = codecs[dtype]
  if (codec === undefined) throw new Error(`constants of ${dtype} cannot be written as numbers`)
  const bytes = new Uint8Array(byteLength(dtype, values.length))
  const view = new DataView(bytes.buffer)
  const size = byteLength(dtype, 1)
  values.forEach((value, at) => codec.put(view, at * size, value))
  return bytes
}

/** The numbers of an inline initialiser of at most 64 elements; undefined for others and for packed dtypes. */
export const numbersOf = ({ data, dtype, shape }: Initializer): ReadonlyArray<number> | undefined => {
  const codec = codecs[dtype]
  const count = shape.reduce((all, dim) => all * dim, 1)
  if (
    codec === undefined || data.kind !== "inline" || count > smallest || data.bytes.length !== byteLength(dtype, count)
  ) return undefined
  const view = new DataView(data.bytes.buffer, data.bytes.byteOffset, data.bytes.byteLength)
  return Array.from({ length: count }, (_, at) => codec.take(view, at * byteLength(dtype, 1)))
}

/** What tells whether two initialisers are the same bytes read the same way; inline ones by content. */
export const identityOf = ({ data, dtype, shape }: Initializer): string =>
  `${dtype} [${shape.join()}] ${
    data.kind === "external" ? `${data.location}@${data.offset}+${data.length}` : `=${data.bytes.join()}`
  }`
