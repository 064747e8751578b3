import { byteLength, type DType, dtypes } from "../tensor/DType.ts"
import type { Data, Initializer } from "./Graph.ts"
import { type Fields, type WireReader } from "./WireReader.ts"

const isDType = (name: string): name is DType => Object.hasOwn(dtypes, name)

/** Our names of `TensorProto.DataType`. */
const dtypeNames = new Map<number, DType>(
  Object.entries(dtypes).flatMap(([name, { onnx }]) => isDType(name) ? [[onnx, name] as const] : [])
)

/** Says that something is not read here. */
export const refuse = (reader: WireReader, what: string) => (_: unknown, where: string) =>
  reader.fail(where, "what our graphs have (nodes with plain attributes, dense tensors)", what)

/** Our name of a `TensorProto.DataType`. */
export const dtypeAt = (reader: WireReader, code: number, where: string): DType => {
  const dtype = dtypeNames.get(code)
  if (dtype === undefined) reader.fail(where, `a data type among ${[...dtypeNames.keys()].join(", ")}`, `${code}`)
  return dtype ?? "f32"
}

/** A StringStringEntryProto. */
export const readPair = (reader: WireReader, bytes: Uint8Array, where: string): readonly [string, string] => {
  let [key, value] = ["", ""]
  reader.message(bytes, where, {
    1: (field) => key = reader.string(field, `${where} key`),
    2: (field) => value = reader.string(field, `${where} value`)
  })
  return [key, value]
}

/** The little-endian bytes of a tensor whose numbers stand in `int32_data`: one number an entry, or one byte for 4-bit dtypes. */
const narrow = (dtype: DType, values: ReadonlyArray<bigint>): Uint8Array => {
  const size = Math.max(1, dtypes[dtype].bits / 8)
  const bytes = new Uint8Array(values.length * size)
  values.forEach((value, at) => {
    for (let byte = 0; byte < size; byte++) bytes[at * size + byte] = Number((value >> BigInt(8 * byte)) & 0xffn)
  })
  return bytes
}

/** Which typed field holds a dtype that is not in `raw_data`. Source: onnx.proto, TensorProto. */
const typedFields: Readonly<Record<DType, 4 | 5 | 7 | 10 | 11>> = {
  f32: 4,
  f64: 10,
  i64: 7,
  u32: 11,
  u64: 11,
  i32: 5,
  u8: 5,
  i8: 5,
  u16: 5,
  i16: 5,
  bool: 5,
  f16: 5,
  bf16: 5,
  f8_e4m3: 5,
  f8_e5m2: 5,
  u4: 5,
  i4: 5
}

const wholeNumber = /^(0|[1-9]\d{0,15})$/

const readExternal = (
  reader: WireReader,
  pairs: ReadonlyArray<readonly [string, string]>,
  expected: number,
  where: string
): Data => {
  const found = new Map(pairs)
  const number = (key: string, otherwise: number): number => {
    const text = found.get(key)
    if (text === undefined) return otherwise
    if (!wholeNumber.test(text) || !Number.isSafeInteger(Number(text))) {
      reader.fail(`${where} ${key}`, "a whole number", `"${text.slice(0, 40)}"`)
    }
    return Number(text)
  }
  const location = found.get("location")
  if (location === undefined) reader.fail(where, "the location of its data", "none")
  return { kind: "external", location: location ?? "", offset: number("offset", 0), length: number("length", expected) }
}

/** A TensorProto; numbers of typed fields become little-endian bytes, as onnx defines them for `raw_data`. */
export const readTensor = (reader: WireReader, bytes: Uint8Array, at: string): Initializer => {
  const shape: Array<number> = []
  const pairs: Array<readonly [string, string]> = []
  const chunks = new Map<number, Array<Uint8Array>>()
  const integers: Array<bigint> = []
  let integerField = 0
  let [name, code, location] = ["", 0, 0]
  let raw: Uint8Array | undefined
  let where = at
  const collect = (number: number, size: 4 | 8): Fields[number] => (field) => {
    const known = chunks.get(number) ?? []
    known.push(reader.fixed(field, where, size))
    chunks.set(number, known)
  }
  const whole = (number: number): Fields[number] => (field) => {
    integerField = number
    for (const value of reader.bigints(field, where)) integers.push(value)
  }
  reader.message(bytes, at, {
    1: (field) => {
      for (const dim of reader.bigints(field, where)) shape.push(Number(dim))
    },
    2: (field) => code = reader.int(field, where),
    3: refuse(reader, "a tensor in segments"),
    4: collect(4, 4),
    5: whole(5),
    6: refuse(reader, "a tensor of strings"),
    7: whole(7),
    8: (field) => {
      name = reader.string(field, where)
      where = `${at} (${name})`
    },
    9: (field) => raw = reader.bytes(field, where),
    10: collect(10, 8),
    11: whole(11),
    13: (field) => pairs.push(readPair(reader, reader.bytes(field, where), where)),
    14: (field) => location = reader.int(field, where)
  })
  const dtype = dtypeAt(reader, code, where)
  const count = shape.reduce((all, dim) => all * dim, 1)
  const expected = byteLength(dtype, count)
  if (shape.some((dim) => !(dim >= 0)) || !Number.isSafeInteger(count) || !Number.isSafeInteger(expected)) {
    reader.fail(where, "dimensions of 0 and more with a product below 2^53", `[${shape.slice(0, 16).join(", ")}]`)
  }
  if (reader.problem !== undefined) return { name, dtype, shape, data: { kind: "inline", bytes: new Uint8Array() } }
  if (location === 1) return { name, dtype, shape, data: readExternal(reader, pairs, expected, where) }
  const field = typedFields[dtype]
  const others = [...chunks.keys(), ...(integerField === 0 ? [] : [integerField])].filter((used) =>
    used !== field || raw !== undefined
  )
  if (others.length > 0) reader.fail(where, `${dtype} numbers in one field`, `some in field ${others.join(", ")}`)
  const found = raw ?? (field === 4 || field === 10 ? joined(chunks.get(field) ?? []) : narrow(dtype, integers))
  if (found.length !== expected) {
    reader.fail(where, `${expected} bytes for ${dtype} [${shape.join(", ")}]`, `${found.length}`)
  }
  return { name, dtype, shape, data: { kind: "inline", bytes: found } }
}

const joined = (chunks: ReadonlyArray<Uint8Array>): Uint8Array => {
  const bytes = new Uint8Array(chunks.reduce((sum, { length }) => sum + length, 0))
  let at = 0
  for (const chunk of chunks) {
    bytes.set(chunk, at)
    at += chunk.length
  }
  return bytes
}
