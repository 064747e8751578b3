import { Context, Effect, Layer } from "effect"
import type { Form } from "../tensor/Coded.ts"
import { byteLength } from "../tensor/DType.ts"
import type { ByteRange, Tensor } from "../tensor/Tensor.ts"
import { formatOf } from "./format/registry.ts"
import { codedRowsOf, matrixOf, numbersOf, numeric, pieces, refuse, rowPieces, sidesOf } from "./kernel/Cut.ts"
import { DEPTH, type Lost, makePool } from "./kernel/Pool.ts"
import {
  type Answer,
  type CodedPlace,
  type Destination,
  type KernelDType,
  type Outcome,
  type Place,
  type Task
} from "./kernel/Task.ts"
import {
  DestinationUnwritable,
  DiskFull,
  KernelError,
  SourceTruncated,
  SourceUnreadable,
  WorkerLost
} from "./KernelError.ts"
import { combine, factsOf, noFacts, type WeightFacts } from "./WeightFacts.ts"

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

const isSame = (a: Form | undefined, b: Form): boolean =>
  a !== undefined && a.bits === b.bits && a.block === b.block && a.scales === b.scales && a.zeros === b.zeros
  && a.minimum === b.minimum && a.ordered === b.ordered

/** A tensor, plain or coded, and the bytes that its codes and scales go to; `file` is there already and has its final size. */
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

        /** Rows of a coded tensor, whatever becomes of them. */
        const decode = Effect.fnUntraced(function*(source: Tensor, outcome: Outcome) {
          const { columns, rows } = yield* Effect.fromResult(codedRowsOf(source))
          const blocks = outcome.kind === "blocks" ? Math.ceil(columns / 32) : 0
          return yield* together(
            rowPieces(source, rows).map(({ count, first }) =>
              perform(source.name, count * columns, first * columns, first * blocks, {
                kind: "coded",
                source,
                first,
                rows: count,
                outcome
              })
            )
          )
        })

        const recode = Effect.fn("Kernels.recode")(
          function*({ form, source, to }: { readonly source: Tensor; readonly form: Form; readonly to: CodedPlace }) {
            yield* Effect.annotateCurrentSpan({ tensor: source.name, format: source.coded?.format })
            yield* Effect.fromResult(sidesOf(source))
            yield* Effect.fromResult(codedRowsOf(source))
            if (!isSame(formatOf(source).form(source), form)) {
              return yield* Effect.fromResult(refuse(source, "the form of its format", JSON.stringify(form)))
            }
            const unplaced = form.zeros === "stored" && to.zeros === undefined
              || form.minimum && to.minimum === undefined
              || form.ordered && to.order === undefined
            if (unplaced) return yield* Effect.die(new Error(`${source.name}: no place for a piece of its form`))
            return yield* decode(source, { kind: "recode", form, to })
          }
        )

        const convert = Effect.fn("Kernels.convert")(
          function*(
            { dtype, source, to }: { readonly source: Tensor; readonly dtype: KernelDType; readonly to: Place }
          ) {
            yield* Effect.annotateCurrentSpan({ tensor: source.name, format: source.coded?.format, dtype })
            return yield* decode(source, { kind: "convert", dtype, to })
          }
        )

        const quantize = Effect.fn("Kernels.quantize")(
          function*({ bits, destination, source }: Quantization & { readonly bits: 4 | 8 }) {
            yield* Effect.annotateCurrentSpan({ tensor: source.name, bits })
            if (source.coded !== undefined) {
              yield* Effect.fromResult(sidesOf(source))
              return yield* decode(source, { kind: "blocks", bits, to: destination })
            }
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
          if (source.coded !== undefined) {
            yield* Effect.fromResult(sidesOf(source))
            return yield* decode(source, { kind: "rows", to: destination })
          }
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
          if (tensor.coded !== undefined) return yield* decode(tensor, { kind: "scan" })
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

        return Kernels.of({ quantize, quantizeRows, recode, convert, scan, copy, fill })
      })
    )
}
