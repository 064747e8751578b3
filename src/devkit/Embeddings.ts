import { Effect, FileSystem } from "effect"
import type { Form } from "../tensor/Coded.ts"
import { byteLength } from "../tensor/DType.ts"
import { encodeHeader } from "../tensor/Npy.ts"
import type { ByteRange, Tensor } from "../tensor/Tensor.ts"
import { DevkitError } from "./DevkitError.ts"
import type { RuntimeConfig } from "./RuntimeConfig.ts"

/** What of the kernels is needed; files are there with their final size before these are called. */
export interface EmbeddingKernels<E, R> {
  /** bytes as they are */
  readonly copy: (options: {
    readonly from: ByteRange
    readonly to: { readonly file: string; readonly offset: number }
    readonly tensor?: Tensor
  }) => Effect.Effect<unknown, E, R>
  /** codes of `form`, bit for bit, of a tensor that is coded */
  readonly recode: (options: {
    readonly source: Tensor
    readonly form: Form
    readonly to: { readonly file: string; readonly codes: number; readonly scales: number; readonly minimum?: number }
  }) => Effect.Effect<unknown, E, R>
  /** plain numbers of a tensor that is coded */
  readonly convert: (options: {
    readonly source: Tensor
    readonly dtype: "bf16" | "f16" | "f32"
    readonly to: { readonly file: string; readonly offset: number }
  }) => Effect.Effect<unknown, E, R>
  /** `[rows × columns]` → i8 codes `[rows × columns]`, bf16 scales `[rows]`; w = code · scale */
  readonly quantizeRows: (options: {
    readonly source: Tensor
    readonly destination: { readonly file: string; readonly codes: number; readonly scales: number }
  }) => Effect.Effect<unknown, E, R>
}

/** Fills a temporary file, which then appears as `name` in the devkit folder; `bytes` that it will have at most. */
export type Publish<E2> = <A, E, R>(
  name: string,
  write: (temporary: string) => Effect.Effect<A, E, R>,
  bytes: number
) => Effect.Effect<A, E | E2, R>

const file = "embeddings.npy"
const scalesFile = "embeddings_scales.npy"
const minimumFile = "embeddings_minimum.npy"

/** Number formats of a stored table, and how numpy is told: it has no bf16, so that its bits are u16. */
const stored = [["bf16", "<u2"], ["f16", "<f2"], ["f32", "<f4"]] as const

const prepare = (path: string, header: Uint8Array, bytes: number) =>
  Effect.scoped(Effect.gen(function*() {
    const fs = yield* FileSystem.FileSystem
    const open = yield* fs.open(path, { flag: "w" })
    yield* open.writeAll(header)
    yield* open.truncate(header.length + bytes)
  }))

const tableOf = (tensor: Tensor) => {
  const [rows = 0, columns = 0, ...rest] = tensor.shape
  const format = stored.find(([dtype]) => dtype === tensor.dtype)
  const bytes = rows * columns * byteLength(tensor.dtype, 1)
  const refuse = (expected: string, found: string) =>
    Effect.fail(
      new DevkitError({
        path: tensor.name,
        at: "",
        expected,
        found,
        advice: "an embedding of another kind is not supported"
      })
    )
  if (format === undefined) return refuse(`an embedding in ${stored.map(([dtype]) => dtype).join(", ")}`, tensor.dtype)
  if (rest.length > 0 || rows === 0 || columns === 0) {
    return refuse("[vocabulary × hidden]", `[${tensor.shape.join(" × ")}]`)
  }
  if (tensor.coded === undefined && bytes !== tensor.range.length) {
    return refuse(`${bytes} bytes`, `${tensor.range.length} bytes`)
  }
  return Effect.succeed({ rows, columns, dtype: format[0], descr: format[1] })
}

/** The form in which a table's own codes are kept; undefined: it becomes plain numbers, or codes of ours. */
const keptForm = (form: Form | undefined, quantize: boolean): Form | undefined =>
  quantize || form === undefined || form.zeros === "stored" || form.ordered ? undefined : form

const codeBytes = ({ bits, block }: Form, columns: number): number => Math.ceil(columns / block) * block * bits / 8

/** A build's embedding files, and what a runner must know of them. */
export interface WrittenEmbeddings {
  readonly files: ReadonlyArray<string>
  readonly embeddings: Pick<RuntimeConfig["embeddings"], "file" | "dtype" | "scales" | "codes">
}

/** Writes the table's own codes: `embeddings.npy` `[rows × bytes]` u8, scales and minimum `[rows × blocks]` in files beside it. */
const writeCodes = Effect.fnUntraced(function*<E, E2, R>(
  source: Tensor,
  form: Form,
  kernels: EmbeddingKernels<E, R>,
  publish: Publish<E2>
) {
  const fs = yield* FileSystem.FileSystem
  const [rows = 0, columns = 0] = source.shape
  const blocks = Math.ceil(columns / form.block)
  const width = codeBytes(form, columns)
  const header = encodeHeader("|u1", [rows, width])
  const [descr, size] = form.scales === "f16" ? ["<f2", 2] as const : ["<f4", 4] as const
  // Everything is written into one file; what stands behind the codes then moves into files of its own.
  const codes = header.length
  const scales = codes + rows * width
  const minimum = scales + rows * blocks * size
  const end = minimum + (form.minimum ? rows * blocks * 4 : 0)
  const move = (name: string, descr: "<f2" | "<f4", from: ByteRange) => {
    const header = encodeHeader(descr, [rows, blocks])
    return publish(name, (temporary) =>
      Effect.andThen(
        prepare(temporary, header, from.length),
        kernels.copy({ from, to: { file: temporary, offset: header.length } })
      ), header.length + from.length)
  }
  yield* publish(file, (temporary) =>
    Effect.gen(function*() {
      yield* prepare(temporary, header, end - codes)
      yield* kernels.recode({
        source,
        form,
        to: { file: temporary, codes, scales, ...form.minimum ? { minimum } : {} }
      })
      yield* move(scalesFile, descr, { file: temporary, offset: scales, length: minimum - scales })
      if (form.minimum) yield* move(minimumFile, "<f4", { file: temporary, offset: minimum, length: end - minimum })
      yield* fs.truncate(temporary, scales)
    }), end)
  const written: WrittenEmbeddings = {
    files: [file, scalesFile, ...form.minimum ? [minimumFile] : []],
    embeddings: {
      file,
      dtype: "codes",
      scales: null,
      codes: {
        bits: form.bits,
        block: form.block,
        zero: form.zeros === "none" ? 0 : 2 ** (form.bits - 1),
        scales: scalesFile,
        minimum: form.minimum ? minimumFile : null
      }
    }
  }
  return written
})

/**
 * Writes `embeddings.npy`: the table as it is stored (codes that a source brings too: `form` says what takes them exactly), or as i8 with `embeddings_scales.npy` (u16: bf16 bits, one scale a row).
 * Only byte ranges are moved, so that memory does not grow with the table.
 */
export const writeEmbeddings = <E, E2, R>(
  tensor: Tensor,
  options: {
    readonly quantize: boolean
    readonly form?: Form | undefined
    readonly kernels: EmbeddingKernels<E, R>
    readonly publish: Publish<E2>
  }
) =>
  Effect.gen(function*() {
    const fs = yield* FileSystem.FileSystem
    const { columns, descr, dtype, rows } = yield* tableOf(tensor)
    const { kernels, publish, quantize } = options
    const form = keptForm(options.form, quantize)
    if (form !== undefined) return yield* writeCodes(tensor, form, kernels, publish)
    if (!quantize) {
      const header = encodeHeader(descr, [rows, columns])
      const bytes = byteLength(dtype, rows * columns)
      yield* publish(file, (temporary) => {
        const to = { file: temporary, offset: header.length }
        return Effect.andThen(
          prepare(temporary, header, bytes),
          tensor.coded === undefined
            ? kernels.copy({ from: tensor.range, to, tensor })
            : kernels.convert({ source: tensor, dtype, to })
        )
      }, header.length + bytes)
      const written: WrittenEmbeddings = { files: [file], embeddings: { file, dtype, scales: null } }
      return written
    }
    const header = encodeHeader("|i1", [rows, columns])
    const scalesHeader = encodeHeader("<u2", [rows])
    const end = header.length + rows * columns
    // The kernel writes codes and scales into one file; the scales are then cut off its end.
    yield* publish(file, (temporary) =>
      Effect.gen(function*() {
        yield* prepare(temporary, header, rows * (columns + 2))
        yield* kernels.quantizeRows({
          source: tensor,
          destination: { file: temporary, codes: header.length, scales: end }
        })
        yield* publish(scalesFile, (scales) =>
          Effect.scoped(Effect.gen(function*() {
            const from = yield* fs.open(temporary, { flag: "r+" })
            const tail = new Uint8Array(rows * 2)
            for (let read = 0; read < tail.length;) {
              const got = yield* from.read(tail.subarray(read), { position: BigInt(end + read) })
              // the file was made with this size above
              if (got === 0) return yield* Effect.die(new Error(`${temporary} has lost its end`))
              read += got
            }
            const to = yield* fs.open(scales, { flag: "w" })
            yield* to.writeAll(scalesHeader)
            yield* to.writeAll(tail)
            yield* from.truncate(end)
          })), scalesHeader.length + rows * 2)
      }), end + rows * 2)
    const written: WrittenEmbeddings = {
      files: [file, scalesFile],
      embeddings: { file, dtype: "i8", scales: scalesFile }
    }
    return written
  }).pipe(Effect.withSpan("Embeddings.write", { attributes: { tensor: tensor.name, quantize: options.quantize } }))
