import { Context, Effect, Layer, Result } from "effect"
import type { Form } from "../tensor/Coded.ts"
import { byteLength } from "../tensor/DType.ts"
import type { ByteRange, Tensor } from "../tensor/Tensor.ts"
import { DEPTH, type Lost, makePool } from "./kernel/Pool.ts"
import {
  type Answer,
  type CodedPlace,
  type Destination,
  type KernelDType,
  kernelDTypes,
  type Place,
  type Task
} from "./kernel/Task.ts"
import {
  DestinationUnwritable,
  DiskFull,
  KernelError,
  NotQuantizable,
  SourceTruncated,
  SourceUnreadable,
  WorkerLost
} from "./KernelError.ts"
import { combine, factsOf, noFacts, type WeightFacts } from "./WeightFacts.ts"

/** Largest piece of a tensor that one worker takes at once, in bytes: some 5 ms. */
const PIECE = 16 * 2 ** 20

// Beside this module, or beside the chunk that a bundle puts it in.
const entry = new URL(`./kernel.worker.${import.meta.url.endsWith(".ts") ? "ts" : "js"}`, import.meta.url)

const reasonOf = (answer: Exclude<Answer | Lost, { readonly kind: "done" }>): KernelError["reason"] => {
  switch (answer.kind) {
    case "truncated":
      return new SourceTruncated(answer)
    case "unreadable":
      return new SourceUnreadable(answer)
    case "unwritable":
      return new DestinationUnwritable(answer)
    case "full":
      return new DiskFull(answer)
    case "lost":
      return new WorkerLost(answer)
    case "stopped":
      return new WorkerLost({ detail: "it was stopped" })
  }
}

interface Matrix {
  readonly dtype: KernelDType
  readonly rows: number
  readonly columns: number
}

const refuse = (tensor: Tensor, expected: string, found: string) =>
  Result.fail(new KernelError({ subject: tensor.name, reason: new NotQuantizable({ expected, found }) }))

const numeric = ({ dtype }: Tensor): KernelDType | undefined => kernelDTypes.find((name) => name === dtype)

const countOf = (shape: ReadonlyArray<number>): number => shape.reduce((a, b) => a * b, 1)

const numbersOf = (
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

const matrixOf = (tensor: Tensor): Result.Result<Matrix, KernelError> =>
  Result.flatMap(numbersOf(tensor), ({ dtype }) => {
    const [rows = 0, columns = 0, ...rest] = tensor.shape
    return rows > 0 && columns > 0 && rest.length === 0
      ? Result.succeed({ dtype, rows, columns })
      : refuse(tensor, "a matrix", `[${tensor.shape.join(" × ")}]`)
  })

/** Work on a byte range, cut where units of `unit` bytes begin: the range of each piece and the units before it. */
const pieces = (
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

/** A tensor and the bytes that its codes and scales go to; `file` is there already and has its final size. */
export interface Quantization {
  readonly source: Tensor
  readonly destination: Destination
}

/**
 * The arithmetic on weights: WebAssembly in worker threads that read, convert and write their own byte ranges. Results do not
 * depend on the number of threads nor on the machine. Every method can be interrupted between chunks of 1 MiB; what it was
 * writing is then incomplete.
 */
export class Kernels extends Context.Service<Kernels, {
  /** `[rows × columns]` bf16, f16 or f32 → u4 or u8 codes `[rows × 32·ceil(columns/32)]`, f16 scales `[rows × ceil(columns/32)]`. */
  readonly quantize: (
    options: Quantization & { readonly bits: 4 | 8 }
  ) => Effect.Effect<WeightFacts, KernelError>
  /** `[rows × columns]` → i8 codes `[rows × columns]`, bf16 scales `[rows]`; w = code · scale. */
  readonly quantizeRows: (options: Quantization) => Effect.Effect<WeightFacts, KernelError>
  /** A coded tensor's numbers as codes of `form` (what its format's `form(tensor)` gave): bit for bit. */
  readonly recode: (options: {
    readonly source: Tensor
    readonly form: Form
    readonly to: CodedPlace
  }) => Effect.Effect<WeightFacts, KernelError>
  /** A coded tensor's numbers as plain numbers of `dtype` (bf16, f16: rounded once, half to even), C order. */
  readonly convert: (options: {
    readonly source: Tensor
    readonly dtype: KernelDType
    readonly to: Place
  }) => Effect.Effect<WeightFacts, KernelError>
  /** Reads all numbers, writes nothing. */
  readonly scan: (tensor: Tensor) => Effect.Effect<WeightFacts, KernelError>
  /** Bytes as they are; `tensor` names them, and says what to look at on the way (formats that are no kernel's are copied only). */
  readonly copy: (options: {
    readonly from: ByteRange
    readonly to: Place
    readonly tensor?: Tensor
  }) => Effect.Effect<WeightFacts, KernelError>
  /** The same byte `length` times: zero points. */
  readonly fill: (options: {
    readonly to: Place
    readonly length: number
    readonly byte: number
  }) => Effect.Effect<void, KernelError>
}>()("llima/quantize/Kernels") {
  /** At most `jobs` threads, started by the first call that needs one. */
  static readonly layer = (jobs: number): Layer.Layer<Kernels> =>
    Layer.effect(
      Kernels,
      Effect.gen(function*() {
        const run = yield* makePool(entry, jobs)

        const perform = (subject: string, numbers: number, first: number, block: number, task: Task) =>
          Effect.flatMap(run(task), (answer) =>
            answer.kind === "done"
              ? Effect.succeed(factsOf(answer.seen, numbers, first, block))
              : Effect.fail(new KernelError({ subject, reason: reasonOf(answer) })))

        /** All pieces, side by side as far as there are threads; the first failure stops the others. */
        const together = (all: ReadonlyArray<Effect.Effect<WeightFacts, KernelError>>) =>
          Effect.map(Effect.all(all, { concurrency: jobs * DEPTH }), (facts) => facts.reduce(combine, noFacts))

        const quantize = Effect.fn("Kernels.quantize")(
          function*({ bits, destination, source }: Quantization & { readonly bits: 4 | 8 }) {
            yield* Effect.annotateCurrentSpan({ tensor: source.name, bits })
            const { columns, dtype } = yield* Effect.fromResult(matrixOf(source))
            const blocks = Math.ceil(columns / 32)
            return yield* together(
              pieces(source.range, byteLength(dtype, columns)).map(({ before, range }) =>
                perform(source.name, range.length / byteLength(dtype, 1), before * columns, before * blocks, {
                  kind: "blocks",
                  bits,
                  dtype,
                  columns,
                  source: range,
                  destination: {
                    file: destination.file,
                    codes: destination.codes + before * blocks * 4 * bits,
                    scales: destination.scales + before * blocks * 2
                  }
                })
              )
            )
          }
        )

        const quantizeRows = Effect.fn("Kernels.quantizeRows")(function*({ destination, source }: Quantization) {
          yield* Effect.annotateCurrentSpan({ tensor: source.name })
          const { columns, dtype } = yield* Effect.fromResult(matrixOf(source))
          return yield* together(
            pieces(source.range, byteLength(dtype, columns)).map(({ before, range }) =>
              perform(source.name, range.length / byteLength(dtype, 1), before * columns, 0, {
                kind: "rows",
                dtype,
                columns,
                source: range,
                destination: {
                  file: destination.file,
                  codes: destination.codes + before * columns,
                  scales: destination.scales + before * 2
                }
              })
            )
          )
        })

        const scan = Effect.fn("Kernels.scan")(function*(tensor: Tensor) {
          yield* Effect.annotateCurrentSpan({ tensor: tensor.name })
          const { dtype } = yield* Effect.fromResult(numbersOf(tensor))
          const width = byteLength(dtype, 1)
          return yield* together(
            pieces(tensor.range, width).map(({ before, range }) =>
              perform(tensor.name, range.length / width, before, 0, { kind: "scan", dtype, source: range })
            )
          )
        })

        const copy = Effect.fn("Kernels.copy")(
          function*({ from, tensor, to }: { readonly from: ByteRange; readonly to: Place; readonly tensor?: Tensor }) {
            const dtype = tensor === undefined ? undefined : numeric(tensor)
            const width = dtype === undefined ? 1 : byteLength(dtype, 1)
            return yield* together(
              pieces(from, width).map(({ before, range }) =>
                perform(tensor?.name ?? from.file, dtype === undefined ? 0 : range.length / width, before, 0, {
                  kind: "copy",
                  dtype,
                  source: range,
                  destination: { file: to.file, offset: to.offset + before * width }
                })
              )
            )
          }
        )

        const fill = Effect.fn("Kernels.fill")(
          function*({ byte, length, to }: { readonly to: Place; readonly length: number; readonly byte: number }) {
            yield* perform(to.file, 0, 0, 0, { kind: "fill", byte, length, destination: to })
          }
        )

        const recode = () => Effect.die("recode")
        const convert = () => Effect.die("convert")

        return Kernels.of({ quantize, quantizeRows, recode, convert, scan, copy, fill })
      })
    )
}
