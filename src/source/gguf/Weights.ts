import { Result } from "effect"
import type { Coded } from "../../tensor/Coded.ts"
import type { Tensor } from "../../tensor/Tensor.ts"
import type { Described } from "./Config.ts"
import { type Read, unsupported, wrong } from "./Metadata.ts"
import { hubName, isTable, requiredTensors } from "./Names.ts"
import type { Info } from "./Place.ts"

/** A tensor of the table, and the file of the split that holds it. */
export interface Placed extends Info {
  readonly file: string
}

/** A type's numbers as a model's tensor: plain where they lie as the model has them, else with what has to be done. */
const tensorOf = (name: string, info: Placed, interleavedHeads: number, addend: number): Tensor => {
  const { bytes, file, offset, shape, type } = info
  const range = { file, offset, length: bytes }
  const plain: Tensor = { name, dtype: type.dtype, shape, range }
  if (type.plain && interleavedHeads === 0 && addend === 0) return plain
  const columns = shape.at(-1) ?? 1
  const rowBytes = (columns / type.block) * type.bytes
  const blocks: Tensor = { name: info.name, dtype: "u8", shape: [bytes / rowBytes, rowBytes], range }
  const coded: Coded = {
    format: `gguf/${type.name}`,
    pieces: { blocks },
    bits: type.bits,
    group: type.group === 0 ? columns : type.group,
    ordered: false,
    interleavedHeads,
    addend
  }
  return { ...plain, coded }
}

const sameShape = (a: ReadonlyArray<number>, b: ReadonlyArray<number>): boolean =>
  a.length === b.length && a.every((dim, index) => dim === b[index])

/** Fails for the first tensor that the model must have and the file has not, or has in another shape. */
const checkRequired = (described: Described, placed: ReadonlyMap<string, Placed>): Read<void> => {
  for (const [name, shape] of requiredTensors(described.layout, described.sizes)) {
    const found = placed.get(name)
    const expected = `shape [${shape.join(", ")}]`
    if (found === undefined) return wrong(name, `a tensor of ${expected}`, "no such tensor")
    if (sameShape(found.shape, shape)) continue
    return wrong(name, expected, `shape [${found.shape.join(", ")}]`)
  }
  return Result.void
}

/**
 * The model's tensors by their Hugging Face names, `[out × in]`, in Hugging Face's order and values. A tensor that the
 * architecture does not know keeps its own name, for the caller to report.
 */
export const weights = (
  described: Described,
  placed: ReadonlyMap<string, Placed>
): Read<ReadonlyMap<string, Tensor>> =>
  Result.gen(function*() {
    const { heads, keyValueHeads, layout } = described
    yield* checkRequired(described, placed)
    const tensors = new Map<string, Tensor>()
    for (const [name, info] of placed) {
      if (isTable(name)) continue
      if (name.endsWith(".scale") || name.endsWith(".input_scale")) {
        return yield* unsupported(name, "weights that need no further scale", `a scale (${info.type.name})`)
      }
      const of = layout.interleaved ? /\.attn_([qk])\.(weight|bias)$/.exec(name) : null
      const turned = of === null ? 0 : of[1] === "q" ? heads : keyValueHeads
      if (turned > 0 && of?.[2] === "bias") return yield* unsupported(name, "attention without biases", "a bias")
      const ours = hubName(layout, name) ?? name
      const addend = layout.offsetNorms && name.endsWith("norm.weight") ? -1 : 0
      if (addend !== 0 && !info.type.plain) {
        return yield* unsupported(name, "a norm in F32, F16 or BF16", info.type.name)
      }
      tensors.set(ours, tensorOf(ours, info, turned, addend))
    }
    return tensors
  })
