import { Result } from "effect"
import { ConfigUnsupported, DTypeUnsupported } from "../ModelReason.ts"
import { Cursor, numberBytes, type Problem } from "./Cursor.ts"
import { type Info, place, type Row } from "./Place.ts"
import { otherType, tensorTypes } from "./TensorTypes.ts"

/** A value of the metadata; texts and lists stay in the header's bytes from `start` to `end`. */
export type Value =
  | { readonly kind: "number"; readonly type: number; readonly value: number | bigint }
  | { readonly kind: "bool"; readonly value: boolean }
  | { readonly kind: "text"; readonly start: number; readonly end: number }
  | { readonly kind: "list"; readonly type: number; readonly count: number; readonly start: number }

/** What stands before the data of a GGUF file. */
export interface Header {
  readonly version: number
  /** the bytes that `values` point into */
  readonly bytes: Uint8Array
  readonly values: ReadonlyMap<string, Value>
  readonly tensors: ReadonlyMap<string, Info>
}

const BOOL = 7
const TEXT = 8
const LIST = 9

const DEFAULT_ALIGNMENT = 32
const MOST_ALIGNMENT = 2 ** 20

/** The largest models have 60 keys and 3,000 tensors; what is larger is a damaged file, and would make us allocate for it. */
const MOST_KEYS = 10_000
const MOST_TENSORS = 30_000
/** The format's own limit. */
const MOST_KEY_BYTES = 65_535
/** ggml's is 64. */
const MOST_NAME_BYTES = 1024
const MOST_DIMENSIONS = 4

// the smallest key/value: an empty key, its type, one byte; the smallest tensor: no name, one dimension
const LEAST_KEY_BYTES = 13
const LEAST_TENSOR_BYTES = 32

/** The magics of the formats before GGUF, which they wrote as a number, so that its letters stand in either order. */
const oldFormats: ReadonlyArray<string> = ["ggml", "ggmf", "ggjt", "ggla"]

const unread = (format: string, advice: string) => new ConfigUnsupported({ problems: [`${format}; ${advice}`] })

const readStart = (cursor: Cursor): number | undefined => {
  if (cursor.fileBytes < 24) {
    const short = cursor.fileBytes === 0 ? ", the file is empty" : ", too short for a header"
    return cursor.fail("a GGUF file of at least 24 bytes", `${cursor.fileBytes} bytes${short}; this is not a GGUF file`)
  }
  const start = cursor.skip(4, "the magic")
  const magic = String.fromCharCode(...cursor.bytes.subarray(0, start === undefined ? 0 : 4))
  const turned = Array.from(magic).toReversed().join("")
  const old = oldFormats.find((one) => one === magic || one === turned)
  if (old !== undefined) {
    return cursor.failWith(
      unread(`${old} (an old format, before GGUF)`, "download the GGUF file of this model")
    )
  }
  if (start !== undefined && magic !== "GGUF") {
    return cursor.fail("a file that begins with GGUF", `the magic ${JSON.stringify(magic)}; this is not a GGUF file`)
  }
  const version = cursor.u32("the version")
  if (version === undefined || version === 2 || version === 3) return version
  return cursor.failWith(
    (version & 0xffff) === 0
      ? unread("big-endian GGUF", "download the little-endian file of this model, which is what nearly all are")
      : unread(
        `GGUF version ${version}`,
        `supported versions: 2 and 3; ${
          version > 3
            ? "a later version of this program may read it"
            : "download a newer file of this model, or convert it again with llama.cpp"
        }`
      )
  )
}

const readList = (cursor: Cursor): Value | undefined => {
  const type = cursor.u32("the item type")
  if (type === LIST) return cursor.fail("a list of numbers, bools or texts", "nested arrays (an array of arrays)")
  if (type === undefined) return undefined
  const each = type === TEXT ? 8 : type === BOOL ? 1 : numberBytes(type)
  if (each === undefined) return cursor.fail("an item type from 0 to 12", `item value type ${type}`)
  const length = cursor.u64("the list's length")
  if (length === undefined) return undefined
  const left = cursor.fileBytes - cursor.at
  if (length * BigInt(each) > BigInt(left)) {
    return cursor.fail(
      `a list that ends within the file, which has ${left} bytes more`,
      `a length of ${length} items of at least ${each} bytes, past the end of the file`
    )
  }
  const count = Number(length)
  const start = cursor.at
  if (type === TEXT) cursor.texts(count)
  else cursor.skip(count * each, "the list")
  return cursor.stopped ? undefined : { kind: "list", type, count, start }
}

const readValue = (cursor: Cursor): Value | undefined => {
  const type = cursor.u32("the value's type")
  if (type === undefined) return undefined
  if (type === LIST) return readList(cursor)
  if (type === TEXT) {
    const range = cursor.range("the text", cursor.fileBytes)
    return range === undefined ? undefined : { kind: "text", start: range[0], end: range[1] }
  }
  if (type === BOOL) {
    const value = cursor.number(0, "a bool")
    if (value === undefined) return undefined
    return value === 0 || value === 1 ? { kind: "bool", value: value === 1 } : cursor.fail("a bool, 0 or 1", `${value}`)
  }
  if (numberBytes(type) === undefined) return cursor.fail("a value type from 0 to 12", `value type ${type}`)
  const value = cursor.number(type, "a number")
  return value === undefined ? undefined : { kind: "number", type, value }
}

const readValues = (cursor: Cursor, count: number): ReadonlyMap<string, Value> => {
  const values = new Map<string, Value>()
  for (let index = 0; index < count && !cursor.stopped; index++) {
    cursor.where = `key ${index} of the key/value section`
    const key = cursor.text("the key", MOST_KEY_BYTES)
    if (key === undefined) break
    cursor.where = key
    if (values.has(key)) cursor.fail("each key once", `the key ${key} twice`)
    const value = readValue(cursor)
    if (value !== undefined) values.set(key, value)
  }
  return values
}

const readShape = (cursor: Cursor): ReadonlyArray<number> | undefined => {
  const dimensions = cursor.u32("the dimensions in the tensor table")
  if (dimensions === undefined) return undefined
  if (dimensions < 1 || dimensions > MOST_DIMENSIONS) {
    return cursor.fail(`1 to ${MOST_DIMENSIONS} dimensions`, `${dimensions} dimensions`)
  }
  const shape: Array<bigint> = []
  for (let i = 0; i < dimensions; i++) shape.unshift(cursor.u64("a shape of the tensor table") ?? 0n)
  if (cursor.stopped) return undefined
  const numbers = shape.reduce((product, dim) => product * dim, 1n)
  return numbers < 1n || numbers >= 2n ** 45n
    ? cursor.fail("a shape of 1 to 2^45 numbers", `shape [${shape.join(", ")}]`)
    : shape.map(Number)
}

const readRow = (cursor: Cursor): Row | undefined => {
  const name = cursor.text("a name of the tensor table", MOST_NAME_BYTES)
  if (name === undefined) return undefined
  cursor.where = name
  const shape = readShape(cursor)
  const id = cursor.u32("a type of the tensor table")
  const offset = cursor.u64("an offset of the tensor table")
  if (shape === undefined || id === undefined || offset === undefined) return undefined
  const type = tensorTypes.get(id)
  if (type === undefined) {
    const supported = Array.from(tensorTypes.values(), (one) => one.name)
    return cursor.failWith(new DTypeUnsupported({ tensors: [{ tensor: name, dtype: otherType(id) }], supported }))
  }
  const columns = shape.at(-1) ?? 1
  if (columns % type.block !== 0) {
    return cursor.fail(
      `rows of a multiple of ${type.block} numbers, as blocks of ${type.name} hold`,
      `rows of ${columns}`
    )
  }
  const bytes = (shape.reduce((product, dim) => product * dim, 1) / type.block) * type.bytes
  return { name, type, shape, offset, bytes }
}

const readRows = (cursor: Cursor, count: number): ReadonlyMap<string, Row> => {
  const rows = new Map<string, Row>()
  for (let index = 0; index < count && !cursor.stopped; index++) {
    cursor.where = `tensor ${index} of the tensor table`
    const row = readRow(cursor)
    if (row === undefined) break
    if (rows.has(row.name)) cursor.fail("each tensor once", `the tensor ${row.name} twice`)
    rows.set(row.name, row)
  }
  return rows
}

const alignmentOf = (cursor: Cursor, values: ReadonlyMap<string, Value>): number => {
  const value = values.get("general.alignment")
  if (value === undefined) return DEFAULT_ALIGNMENT
  const number = value.kind === "number" ? Number(value.value) : 0
  if (Number.isInteger(number) && number >= 1 && number <= MOST_ALIGNMENT && (number & (number - 1)) === 0) {
    return number
  }
  cursor.where = "general.alignment"
  cursor.fail("a power of two", value.kind === "number" ? `${value.value}` : `a ${value.kind}`)
  return DEFAULT_ALIGNMENT
}

/**
 * Reads the header of a file of `fileBytes` of which `bytes` are the first. Gives the number of bytes that it needs where these
 * are too few. Source: ggml docs/gguf.md (versions 2 and 3) and the layout as `gguf.cpp` of ggml 0.25 writes it.
 */
export const parseHeader = (bytes: Uint8Array, fileBytes: number): Result.Result<Header | number, Problem> => {
  const cursor = new Cursor(bytes, fileBytes)
  const version = readStart(cursor) ?? 0
  const tensorCount = cursor.count("a tensor table", "tensor count", LEAST_TENSOR_BYTES, MOST_TENSORS) ?? 0
  const keyCount = cursor.count("a key/value section", "key/value count", LEAST_KEY_BYTES, MOST_KEYS) ?? 0
  const values = readValues(cursor, keyCount)
  const alignment = alignmentOf(cursor, values)
  const rows = readRows(cursor, tensorCount)
  const tensors = cursor.stopped ? new Map<string, Info>() : place(cursor, rows, alignment)
  if (cursor.problem !== undefined) return Result.fail(cursor.problem)
  return Result.succeed(cursor.need > 0 ? cursor.need : { version, bytes, values, tensors })
}
