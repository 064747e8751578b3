import { Result } from "effect"
import type { DType } from "../../tensor/DType.ts"
import type { Tensor } from "../../tensor/Tensor.ts"
import { PieceInvalid } from "../ModelReason.ts"
import { SourceError } from "../SourceError.ts"

/** How users of PyTorch know our number formats. */
const torchNames: Readonly<Partial<Record<DType, string>>> = {
  f32: "float32",
  f16: "float16",
  bf16: "bfloat16",
  f8_e4m3: "float8_e4m3fn",
  i8: "int8",
  u8: "uint8",
  i32: "int32",
  i64: "int64"
}

const nameOf = (dtype: DType): string => torchNames[dtype] ?? dtype

const shapeOf = (shape: ReadonlyArray<number>): string => `[${shape.join(", ")}]`

/** Number formats that scales may have. */
export const scaleDTypes = ["f16", "bf16", "f32"] as const satisfies ReadonlyArray<DType>

/** The stored tensors of one module. `name` is the module's; checks name the tensor that is wrong. */
export class Pieces {
  readonly name: string
  /** where the module's tensors are, for errors */
  readonly path: string
  readonly stored: ReadonlyMap<string, Tensor>

  constructor(name: string, path: string, stored: ReadonlyMap<string, Tensor>) {
    this.name = name
    this.path = path
    this.stored = stored
  }

  find(suffix: string): Tensor | undefined {
    return this.stored.get(`${this.name}.${suffix}`)
  }

  /** The failure of a tensor of the module, or of the module where there is no suffix. */
  wrong(suffix: string, expected: string, found: string): Result.Result<never, SourceError> {
    const tensor = suffix === "" ? this.name : `${this.name}.${suffix}`
    const path = this.find(suffix)?.range.file ?? this.path
    return Result.fail(new SourceError({ path, reason: new PieceInvalid({ tensor, expected, found, also: [] }) }))
  }

  /** A tensor of one of these number formats and this many dimensions, none of them 0. */
  take(suffix: string, dtypes: ReadonlyArray<DType>, rank: number): Result.Result<Tensor, SourceError> {
    const tensor = this.find(suffix)
    const expected = dtypes.map(nameOf).join(" or ")
    if (tensor === undefined) return this.wrong(suffix, `a tensor of ${expected}`, "no such tensor")
    if (!dtypes.includes(tensor.dtype)) return this.wrong(suffix, expected, nameOf(tensor.dtype))
    return tensor.shape.length === rank && tensor.shape.every((size) => size > 0)
      ? Result.succeed(tensor)
      : this.wrong(suffix, `a shape of ${rank} positive sizes`, `shape ${shapeOf(tensor.shape)}`)
  }

  /** A tensor of one of these number formats and one of these shapes; the first is the one to ask for. */
  shaped(
    suffix: string,
    dtypes: ReadonlyArray<DType>,
    ...shapes: ReadonlyArray<ReadonlyArray<number>>
  ): Result.Result<Tensor, SourceError> {
    const [shape = []] = shapes
    const found = this.find(suffix)?.shape ?? shape
    const rank = shapes.some((other) => other.length === found.length) ? found.length : shape.length
    return Result.flatMap(
      this.take(suffix, dtypes, rank),
      (tensor) =>
        shapes.some((other) => shapeOf(other) === shapeOf(tensor.shape))
          ? Result.succeed(tensor)
          : this.wrong(suffix, `shape ${shapeOf(shape)}`, `shape ${shapeOf(tensor.shape)}`)
    )
  }
}

/** Fails where a group does not divide the columns, or has fewer than the 16 that our blocks need. */
export const checkGroup = (pieces: Pieces, group: number, columns: number): Result.Result<void, SourceError> =>
  columns % group !== 0
    ? pieces.wrong("", `a group size that divides its ${columns} columns`, `group size ${group}`)
    : group % leastBlock !== 0 && group !== columns
    ? pieces.wrong("", `a group size that is a multiple of ${leastBlock}`, `group size ${group}`)
    : Result.void

/** Numbers of the smallest block that our codes have. */
const leastBlock = 16

/** The largest tensor of a module: whose place stands for the whole. */
const largestOf = (pieces: ReadonlyArray<Tensor>): Tensor | undefined =>
  pieces.toSorted((a, b) => b.range.length - a.range.length)[0]

/** What a module's weight is, beside its pieces. */
export interface Weight {
  readonly format: string
  readonly dtype: "f32" | "bf16"
  readonly rows: number
  readonly columns: number
  readonly bits: 4 | 8
  readonly group: number
  readonly ordered: boolean
}

/** The tensor that a module's pieces make: `<module>.weight`, `[rows × columns]`. */
export const weightOf = (
  pieces: Pieces,
  { bits, columns, dtype, format, group, ordered, rows }: Weight,
  parts: Readonly<Record<string, Tensor | undefined>>
): Tensor => {
  const present = Object.entries(parts).flatMap(([name, part]) => part === undefined ? [] : [[name, part] as const])
  const range = largestOf(present.map(([, part]) => part))?.range ?? { file: pieces.path, offset: 0, length: 0 }
  const coded = { format, pieces: Object.fromEntries(present), bits, group, ordered, interleavedHeads: 0, addend: 0 }
  return { name: `${pieces.name}.weight`, dtype, shape: [rows, columns], range, coded }
}
