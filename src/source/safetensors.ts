import { Effect, Result } from "effect"
import type { DType } from "../tensor/DType.ts"
import type { Tensor } from "../tensor/Tensor.ts"
import { HeaderInvalid, Overlap, Truncated } from "./FileReason.ts"
import { DTypeUnsupported } from "./ModelReason.ts"
import { SourceError } from "./SourceError.ts"
import * as SourceFile from "./SourceFile.ts"

/** The header's length: u64 @0. */
const lengthBytes = 8

/** The reference implementation's own limit. */
const maxHeaderBytes = 100_000_000

/** Number formats of the file format, bits of one number, and ours where we have it. Source: safetensors 0.8, `Dtype`. */
export const formats = {
  BOOL: { bits: 8, dtype: "bool" },
  U8: { bits: 8, dtype: "u8" },
  I8: { bits: 8, dtype: "i8" },
  U16: { bits: 16, dtype: "u16" },
  I16: { bits: 16, dtype: "i16" },
  U32: { bits: 32, dtype: "u32" },
  I32: { bits: 32, dtype: "i32" },
  U64: { bits: 64, dtype: "u64" },
  I64: { bits: 64, dtype: "i64" },
  F16: { bits: 16, dtype: "f16" },
  BF16: { bits: 16, dtype: "bf16" },
  F32: { bits: 32, dtype: "f32" },
  F64: { bits: 64, dtype: "f64" },
  F8_E4M3: { bits: 8, dtype: "f8_e4m3" },
  F8_E5M2: { bits: 8, dtype: "f8_e5m2" },
  F8_E8M0: { bits: 8, dtype: undefined },
  F8_E4M3FNUZ: { bits: 8, dtype: undefined },
  F8_E5M2FNUZ: { bits: 8, dtype: undefined },
  F6_E2M3: { bits: 6, dtype: undefined },
  F6_E3M2: { bits: 6, dtype: undefined },
  F4: { bits: 4, dtype: undefined },
  C64: { bits: 64, dtype: undefined }
} as const satisfies Record<string, { readonly bits: number; readonly dtype: DType | undefined }>

/** A number format as a header spells it. */
export type Format = keyof typeof formats

/** A tensor of a header; `begin` and `end` in bytes from the start of the data. */
export interface Entry {
  readonly name: string
  readonly format: Format
  readonly shape: ReadonlyArray<number>
  readonly begin: number
  readonly end: number
}

/** What a header says: the tensors by place in the file, and the writer's own notes. */
export interface Header {
  readonly metadata: Readonly<Record<string, string>>
  readonly entries: ReadonlyArray<Entry>
}

/** Every way in which a header can be wrong. */
export type HeaderProblem = SourceError["reason"]

const invalid = (expected: string, found: string, tensor?: string) =>
  Result.fail(new HeaderInvalid({ tensor, expected, found }))

const isFormat = (name: string): name is Format => Object.hasOwn(formats, name)

const isObject = (value: unknown): value is Readonly<Record<string, unknown>> =>
  typeof value === "object" && value !== null && !Array.isArray(value)

const isSizes = (value: unknown): value is ReadonlyArray<number> =>
  Array.isArray(value) && value.every((item) => Number.isSafeInteger(item) && item >= 0)

const show = (value: unknown): string => {
  const text = value === undefined ? "nothing" : Array.isArray(value) ? `[${value.join(", ")}]` : JSON.stringify(value)
  return text.length > 200 ? `${text.slice(0, 200)}…` : text
}

/** `"<!DOCTYP"` where the first bytes are text, so that a saved error page can be told. */
const asText = (head: Uint8Array): string =>
  head.every((byte) => byte >= 0x20 && byte < 0x7f)
    ? ` (the file begins with the text ${JSON.stringify(String.fromCharCode(...head))})`
    : ""

/** The header's length in bytes, from the first 8 bytes of a file of `fileBytes`. */
export const headerLength = (head: Uint8Array, fileBytes: number): Result.Result<number, HeaderProblem> => {
  if (fileBytes < lengthBytes || head.length < lengthBytes) {
    return invalid(
      `at least ${lengthBytes} bytes`,
      fileBytes === 0 ? "0 bytes, the file is empty" : `${fileBytes} bytes`
    )
  }
  const length = new DataView(head.buffer, head.byteOffset).getBigUint64(0, true)
  const most = Math.min(fileBytes - lengthBytes, maxHeaderBytes)
  return length > BigInt(most)
    ? invalid(
      `a header of at most ${most} bytes`,
      `a header length of ${length}${asText(head.subarray(0, lengthBytes))}`
    )
    : Result.succeed(Number(length))
}

const readMetadata = (json: unknown): Result.Result<Readonly<Record<string, string>>, HeaderProblem> => {
  const metadata: Record<string, string> = {}
  if (json === undefined) return Result.succeed(metadata)
  if (!isObject(json)) return invalid("__metadata__ to be an object of texts", show(json))
  for (const [key, value] of Object.entries(json)) {
    if (typeof value !== "string") return invalid(`__metadata__.${key} to be a text`, show(value))
    Object.defineProperty(metadata, key, { value, enumerable: true })
  }
  return Result.succeed(metadata)
}

const readEntry = (name: string, json: unknown): Result.Result<Entry, HeaderProblem> => {
  if (!isObject(json)) return invalid("an object with dtype, shape and data_offsets", show(json), name)
  const { data_offsets: offsets, dtype, shape } = json
  if (typeof dtype !== "string") return invalid("dtype to be a text", show(dtype), name)
  if (!isFormat(dtype)) {
    return Result.fail(
      new DTypeUnsupported({ tensors: [{ tensor: name, dtype: show(dtype) }], supported: Object.keys(formats) })
    )
  }
  if (!isSizes(shape)) return invalid("shape to be a list of whole numbers from 0 to 2^53 - 1", show(shape), name)
  const [begin, end, more] = isSizes(offsets) ? offsets : []
  if (begin === undefined || end === undefined || more !== undefined || begin > end) {
    return invalid("data_offsets to be [begin, end] with begin ≤ end", show(offsets), name)
  }
  let bits: number = formats[dtype].bits
  for (const dim of shape) {
    bits *= dim
    if (!Number.isSafeInteger(bits)) {
      return invalid("a shape of fewer than 2^53 bits", `${dtype} × ${show(shape)}`, name)
    }
  }
  if (bits % 8 !== 0) return invalid("a whole number of bytes", `${dtype} × ${show(shape)} = ${bits} bits`, name)
  if (bits / 8 !== end - begin) {
    return invalid(
      `${bits / 8} bytes (${dtype} × ${show(shape)})`,
      `${end - begin} bytes (data_offsets ${show(offsets)})`,
      name
    )
  }
  return Result.succeed({ name, format: dtype, shape, begin, end })
}

/** The tensors must cover the data from its first to its last byte, each byte once. */
const checkCover = (
  sorted: ReadonlyArray<Entry>,
  dataStart: number,
  fileBytes: number
): Result.Result<void, HeaderProblem> => {
  const dataBytes = fileBytes - dataStart
  let before: Entry | undefined
  for (const entry of sorted) {
    const expected = before?.end ?? 0
    if (before !== undefined && entry.begin < expected) {
      return Result.fail(new Overlap({ tensor: entry.name, other: before.name, expected, found: entry.begin }))
    }
    if (entry.begin > expected) {
      return invalid(`it to begin at data byte ${expected}`, `${entry.begin}, which leaves a hole`, entry.name)
    }
    before = entry
  }
  const end = before?.end ?? 0
  if (end > dataBytes) {
    const cut = sorted.find((entry) => entry.end > dataBytes) ?? { name: "", begin: 0, end: 0 }
    return Result.fail(
      new Truncated({
        tensor: cut.name,
        expected: cut.end - cut.begin,
        found: Math.max(0, dataBytes - cut.begin),
        fileExpected: dataStart + end,
        fileFound: fileBytes
      })
    )
  }
  return end < dataBytes
    ? invalid(`the file to end with the last tensor, at byte ${dataStart + end}`, `${dataBytes - end} bytes more`)
    : Result.void
}

/**
 * Reads a header, `{"name": {"dtype", "shape", "data_offsets"}, "__metadata__": {…}}`, of a file of `fileBytes`, as strictly
 * as the reference and with each key once. Source: safetensors 0.8, format description and `SafeTensors::read_metadata`.
 */
export const parseHeader = (header: Uint8Array, fileBytes: number): Result.Result<Header, HeaderProblem> =>
  Result.gen(function*() {
    const json = yield* SourceFile.parseJson(header, "the header", "whole")
    if (!isObject(json) || header[0] !== 0x7b) return yield* invalid("a JSON object", show(json))
    const metadata = yield* readMetadata(json["__metadata__"])
    const entries: Array<Entry> = []
    for (const [name, value] of Object.entries(json)) {
      if (name !== "__metadata__") entries.push(yield* readEntry(name, value))
    }
    entries.sort((a, b) => a.begin - b.begin || a.end - b.end)
    yield* checkCover(entries, lengthBytes + header.length, fileBytes)
    return { metadata, entries }
  })

/** A safetensors file whose header was read and found sound; no tensor's bytes were. */
export interface Safetensors {
  readonly file: SourceFile.SourceFile
  readonly metadata: Readonly<Record<string, string>>
  readonly tensors: ReadonlyMap<string, Tensor>
  /** tensors in formats that we have no dtype for */
  readonly unheld: ReadonlyMap<string, Pick<Entry, "format" | "shape">>
}

/** Reads the header of the file at `path` (absolute). */
export const readSafetensors = Effect.fn("safetensors.read")(function*(path: string) {
  yield* Effect.annotateCurrentSpan({ path })
  const file = yield* SourceFile.identify(path)
  const failed = (reason: HeaderProblem) => new SourceError({ path, reason })
  const head = yield* SourceFile.readBytes(path, 0, lengthBytes)
  yield* SourceFile.refusePointer(path)
  const length = yield* Effect.mapError(Effect.fromResult(headerLength(head, file.bytes)), failed)
  const bytes = yield* SourceFile.readBytes(path, lengthBytes, length)
  const header = yield* Effect.mapError(Effect.fromResult(parseHeader(bytes, file.bytes)), failed)
  const dataStart = lengthBytes + length
  const tensors = new Map<string, Tensor>()
  const unheld = new Map<string, Pick<Entry, "format" | "shape">>()
  for (const { begin, end, format, name, shape } of header.entries) {
    const dtype = formats[format].dtype
    if (dtype === undefined) unheld.set(name, { format, shape })
    else {tensors.set(name, {
        name,
        dtype,
        shape,
        range: { file: path, offset: dataStart + begin, length: end - begin }
      })}
  }
  return { file, metadata: header.metadata, tensors, unheld } satisfies Safetensors
})
