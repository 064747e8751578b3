import { readdirSync, readFileSync } from "node:fs"
import { join } from "node:path"
import type { DType } from "../../src/tensor/DType.ts"
import { tensorIn, type Wanted } from "../../src/tensor/Slice.ts"
import type { Tensor } from "../../src/tensor/Tensor.ts"

const folder = join(import.meta.dirname, "../fixtures/text")

/** Names of the cases of `test/fixtures/text`. */
export const caseNames: ReadonlyArray<string> = readdirSync(folder, { withFileTypes: true })
  .filter((entry) => entry.isDirectory()).map(({ name }) => name)

/** JSON of a file; the fixtures are ours, so their shape is believed. */
export const json = (path: string) => JSON.parse(readFileSync(path, "utf8"))

/** A float32 array of numpy. */
export interface Array32 {
  readonly shape: ReadonlyArray<number>
  readonly data: Float32Array
}

export const npy = (path: string): Array32 => {
  const bytes = readFileSync(path)
  const length = bytes.readUInt16LE(8)
  const header = bytes.toString("latin1", 10, 10 + length)
  const shape = (/'shape': \(([^)]*)\)/.exec(header)?.[1] ?? "").split(",").filter((dim) => dim.trim() !== "").map(
    Number
  )
  if (!header.includes("'<f4'")) throw new Error(`${path} is not float32`)
  return {
    shape,
    data: new Float32Array(bytes.buffer.slice(bytes.byteOffset + 10 + length, bytes.byteOffset + bytes.length))
  }
}

const storedTypes: Readonly<Record<string, DType>> = { BF16: "bf16", F16: "f16", F32: "f32" }

/** Tensors of the safetensors files of a folder. */
const tensorsOf = (path: string): ReadonlyMap<string, Tensor> =>
  new Map(
    readdirSync(path).filter((name) => name.endsWith(".safetensors")).flatMap((name) => {
      const file = join(path, name)
      const bytes = readFileSync(file)
      const length = Number(bytes.readBigUInt64LE(0))
      const header: Record<string, { dtype: string; shape: Array<number>; data_offsets: [number, number] }> = JSON
        .parse(
          bytes.toString("utf8", 8, 8 + length)
        )
      return Object.entries(header).filter(([key]) => key !== "__metadata__").map(
        ([key, { data_offsets: [from, to], dtype, shape }]): [string, Tensor] => {
          const range = { file, offset: 8 + length + from, length: to - from }
          return [key, { name: key, dtype: storedTypes[dtype] ?? "u8", shape, range }]
        }
      )
    })
  )

/** A family's tensors by name, among those that are stored. */
export const finder = (tensors: ReadonlyMap<string, Tensor>, wanted: ReadonlyArray<Wanted>) => {
  const known = new Map(wanted.map((one) => [one.name, one]))
  return (name: string): Tensor => {
    const one = known.get(name)
    const tensor = one === undefined ? undefined : tensorIn(tensors, one)
    if (tensor === undefined) throw new Error(`there is no ${name}`)
    return tensor
  }
}

/** A prompt with the greedy ids that follow it. */
export interface Prompt {
  readonly ids: ReadonlyArray<number>
  readonly new_ids: ReadonlyArray<number>
}

/** A checkpoint and what transformers computes from it. */
export const readCase = (name: string) => {
  const path = join(folder, name)
  const expected: { tolerance: number; prompts: { short: Prompt; long: Prompt } } = json(
    join(path, "expected/expected.json")
  )
  const config: Record<string, unknown> & { model_type: string } = json(join(path, "config.json"))
  return {
    path,
    config,
    tensors: tensorsOf(path),
    tolerance: expected.tolerance,
    prompts: expected.prompts,
    array: (file: "logits_short" | "logits_long" | "hidden_short" | "keys_short" | "values_short" | "conv_short") =>
      npy(join(path, "expected", `${file}.npy`))
  }
}
export type Case = ReturnType<typeof readCase>
