import type { DType } from "../../tensor/DType.ts"

/** A tensor type of GGUF that is read: `block` numbers along a row take `bytes` bytes. */
export interface TensorType {
  readonly name: string
  readonly block: number
  readonly bytes: number
  /** plain numbers that it is, or becomes: f32 where a code of ours takes its numbers bit for bit, bf16 where it is converted */
  readonly dtype: DType
  /** numbers lie one after another in `dtype` */
  readonly plain: boolean
  /** bits of the code that takes its numbers */
  readonly bits: 4 | 8
  /** numbers that share a scale; 0: no scale */
  readonly group: number
}

const plain = (name: string, bytes: number, dtype: DType): TensorType => ({
  name,
  block: 1,
  bytes,
  dtype,
  plain: true,
  bits: 8,
  group: 0
})

const coded = (name: string, block: number, bytes: number, bits: 4 | 8, group: number): TensorType => ({
  name,
  block,
  bytes,
  dtype: "f32",
  plain: false,
  bits,
  group
})

/** Types whose numbers no code of ours takes. */
const converted = (name: string, block: number, bytes: number, group: number): TensorType => ({
  ...coded(name, block, bytes, 8, group),
  dtype: "bf16"
})

/** Tensor types by their id. Source: ggml 0.25 `ggml_type`; sizes as in gguf-py 0.19 `GGML_QUANT_SIZES`. */
export const tensorTypes: ReadonlyMap<number, TensorType> = new Map([
  [0, plain("F32", 4, "f32")],
  [1, plain("F16", 2, "f16")],
  [2, coded("Q4_0", 32, 18, 4, 32)],
  [3, coded("Q4_1", 32, 20, 4, 32)],
  [6, coded("Q5_0", 32, 22, 8, 32)],
  [7, coded("Q5_1", 32, 24, 8, 32)],
  [8, coded("Q8_0", 32, 34, 8, 32)],
  [10, coded("Q2_K", 256, 84, 4, 16)],
  [11, coded("Q3_K", 256, 110, 4, 16)],
  [12, coded("Q4_K", 256, 144, 4, 32)],
  [13, coded("Q5_K", 256, 176, 8, 32)],
  [14, coded("Q6_K", 256, 210, 8, 16)],
  [16, converted("IQ2_XXS", 256, 66, 32)],
  [17, converted("IQ2_XS", 256, 74, 16)],
  [18, converted("IQ3_XXS", 256, 98, 32)],
  [19, converted("IQ1_S", 256, 50, 32)],
  [20, coded("IQ4_NL", 32, 18, 8, 32)],
  [21, converted("IQ3_S", 256, 110, 32)],
  [22, converted("IQ2_S", 256, 82, 16)],
  [23, coded("IQ4_XS", 256, 136, 8, 32)],
  [29, converted("IQ1_M", 256, 56, 16)],
  [30, plain("BF16", 2, "bf16")],
  [34, coded("TQ1_0", 256, 54, 4, 256)],
  [35, coded("TQ2_0", 256, 66, 4, 256)],
  [39, coded("MXFP4", 32, 17, 8, 32)],
  [40, converted("NVFP4", 64, 36, 16)]
])

/** Types that the format has or had and that no model's weights are stored in, by id, for errors. */
const otherTypes: Readonly<Record<number, string>> = {
  4: "Q4_2, removed from the format",
  5: "Q4_3, removed from the format",
  9: "Q8_1",
  15: "Q8_K",
  24: "I8",
  25: "I16",
  26: "I32",
  27: "I64",
  28: "F64",
  31: "Q4_0_4_4, removed from the format",
  32: "Q4_0_4_8, removed from the format",
  33: "Q4_0_8_8, removed from the format",
  36: "IQ4_NL_4_4, removed from the format",
  37: "IQ4_NL_4_8, removed from the format",
  38: "IQ4_NL_8_8, removed from the format",
  41: "Q1_0"
}

/** A type that is not read, as an error names it. */
export const otherType = (id: number): string => `type ${id} (${otherTypes[id] ?? "not defined"})`
