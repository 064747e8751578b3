import { Effect, FileSystem } from "effect"
import { byteLength, type DType } from "../tensor/DType.ts"
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
    readonly tensor: Tensor
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
  if (bytes !== tensor.range.length) return refuse(`${bytes} bytes`, `${tensor.range.length} bytes`)
  return Effect.succeed({ rows, columns, dtype: format[0], descr: format[1] })
}

/** Bytes that the files take, for the plan. `dtype` of the stored table, `[rows × columns]`. */
export const embeddingBytes = (dtype: DType, rows: number, columns: number, quantize: boolean): number =>
  quantize ? rows * (columns + 2) : byteLength(dtype, rows * columns)

/** A build's embedding files, and what a runner must know of them. */
export interface WrittenEmbeddings {
  readonly files: ReadonlyArray<string>
  readonly embeddings: Pick<RuntimeConfig["embeddings"], "file" | "dtype" | "scales">
}

/**
 * Writes `embeddings.npy`: the table as it is stored, or as i8 with `embeddings_scales.npy` (u16: bf16 bits, one scale a row).
 * Only byte ranges are moved, so that memory does not grow with the table.
 */
export const writeEmbeddings = <E, E2, R>(
  tensor: Tensor,
  options: { readonly quantize: boolean; readonly kernels: EmbeddingKernels<E, R>; readonly publish: Publish<E2> }
) =>
  Effect.gen(function*() {
    const fs = yield* FileSystem.FileSystem
    const { columns, descr, dtype, rows } = yield* tableOf(tensor)
    const { kernels, publish, quantize } = options
    if (!quantize) {
      const header = encodeHeader(descr, [rows, columns])
      yield* publish(file, (temporary) =>
        Effect.andThen(
          prepare(temporary, header, tensor.range.length),
          kernels.copy({ from: tensor.range, to: { file: temporary, offset: header.length }, tensor })
        ), header.length + tensor.range.length)
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
