import { type DType, dtypes } from "../tensor/DType.ts"
import type { Tensor } from "../tensor/Tensor.ts"
import { Assembly, attribute, type Ref } from "./Assembly.ts"

export { attribute, type Ref } from "./Assembly.ts"

/** Heads, scale and cap of `Builder.attention`; the cap is of the scores, as `softcap · tanh(scores / softcap)`. */
interface AttentionOptions {
  readonly qHeads: number
  readonly kvHeads: number
  readonly scale: number
  readonly softcap?: number | undefined
}

/** An Assembly with a method for each operator that families use; see `Assembly` for inputs, outputs, weights and `build`. */
export class Builder extends Assembly {
  readonly #casts = new Map<string, Ref>()

  /** The value as another dtype; itself where it has it. One Cast per value and dtype. */
  cast(ref: Ref, to: DType): Ref {
    if (ref.dtype === to) return ref
    const key = `${ref.name} ${to}`
    const cast = this.#casts.get(key) ??
      this.op("Cast", [ref], { to: attribute.int(dtypes[to].onnx) }, 1, { name: `${ref.name}_${to}` })
    this.#casts.set(key, cast)
    return cast
  }

  /** The value as f32. */
  f32(ref: Ref): Ref {
    return this.cast(ref, "f32")
  }

  /** `x [tokens × in] · weightᵀ + bias → [tokens × out]`, weight `[out × in]` and bias `[out]` as stored. */
  linear(x: Ref, weight: Tensor, bias?: Tensor): Ref {
    const inputs = [x, this.f32(this.weight(weight)), ...(bias === undefined ? [] : [this.f32(this.weight(bias))])]
    return this.op("Gemm", inputs, { transB: attribute.int(1) })
  }

  /** `x / rms(x) · weight` over the last dimension; weight as f32 `[size]`. */
  rmsNorm(x: Ref, weight: Ref, epsilon: number): Ref {
    return this.op("RMSNormalization", [x, this.f32(weight)], {
      axis: attribute.int(-1),
      epsilon: attribute.float(epsilon)
    })
  }

  /** `(x − mean) / deviation · weight + bias` over the last dimension. */
  layerNorm(x: Ref, weight: Ref, bias: Ref | undefined, epsilon: number): Ref {
    const inputs = [x, this.f32(weight), ...(bias === undefined ? [] : [this.f32(bias)])]
    return this.op("LayerNormalization", inputs, { axis: attribute.int(-1), epsilon: attribute.float(epsilon) })
  }

  add(a: Ref, b: Ref): Ref {
    return this.op("Add", [a, b])
  }

  sub(a: Ref, b: Ref): Ref {
    return this.op("Sub", [a, b])
  }

  mul(a: Ref, b: Ref): Ref {
    return this.op("Mul", [a, b])
  }

  div(a: Ref, b: Ref): Ref {
    return this.op("Div", [a, b])
  }

  matMul(a: Ref, b: Ref): Ref {
    return this.op("MatMul", [a, b])
  }

  transpose(x: Ref, order: ReadonlyArray<number>): Ref {
    return this.op("Transpose", [x], { perm: attribute.ints(order) })
  }

  concat(refs: ReadonlyArray<Ref>, axis: number): Ref {
    return this.op("Concat", refs, { axis: attribute.int(axis) })
  }

  /** Pieces of the given sizes along an axis. */
  split(x: Ref, sizes: ReadonlyArray<number>, axis: number): Array<Ref> {
    return this.ops("Split", [x, this.#indices("sizes", sizes)], { axis: attribute.int(axis) }, sizes.length)
  }

  /** 0 copies the dimension at its place, one -1 takes what is left. */
  reshape(x: Ref, dims: ReadonlyArray<number>): Ref {
    return this.op("Reshape", [x, this.#indices("dims", dims)])
  }

  unsqueeze(x: Ref, axes: ReadonlyArray<number>): Ref {
    return this.op("Unsqueeze", [x, this.#indices("axes", axes)])
  }

  squeeze(x: Ref, axes: ReadonlyArray<number>): Ref {
    return this.op("Squeeze", [x, this.#indices("axes", axes)])
  }

  /** Rows (along `axis`) of `data` that i64 or i32 `indices` name. */
  gather(data: Ref, indices: Ref, axis = 0): Ref {
    return this.op("Gather", [data, indices], { axis: attribute.int(axis) })
  }

  /** Each channel of `x [1 × channels × places]` with its own kernel, `weight [channels × 1 × size]`, `bias [channels]` → `[1 × channels × places − size + 1]`. */
  depthwise(x: Ref, weight: Tensor, bias?: Tensor): Ref {
    const inputs = [x, this.f32(this.weight(weight)), ...(bias === undefined ? [] : [this.f32(this.weight(bias))])]
    return this.op("Conv", inputs, { group: attribute.int(weight.shape[0] ?? 1) })
  }

  sigmoid(x: Ref): Ref {
    return this.op("Sigmoid", [x])
  }

  tanh(x: Ref): Ref {
    return this.op("Tanh", [x])
  }

  softmax(x: Ref, axis = -1): Ref {
    return this.op("Softmax", [x], { axis: attribute.int(axis) })
  }

  /** `x · sigmoid(x)`. */
  silu(x: Ref): Ref {
    return this.mul(x, this.sigmoid(x))
  }

  /** The exact (erf) form. */
  gelu(x: Ref): Ref {
    return this.op("Gelu", [x], { approximate: attribute.string("none") })
  }

  /** The tanh approximation. */
  geluTanh(x: Ref): Ref {
    return this.op("Gelu", [x], { approximate: attribute.string("tanh") })
  }

  /** Rotates halves of each head of `x [1, tokens, heads · size]`; cos and sin are `[1, tokens, rotary / 2]`; `rotaryDim` where it is less than the size. */
  rotary(x3d: Ref, cos: Ref, sin: Ref, numHeads: number, rotaryDim?: number): Ref {
    return this.op("RotaryEmbedding", [x3d, cos, sin], {
      num_heads: attribute.int(numHeads),
      ...(rotaryDim === undefined ? {} : { rotary_embedding_dim: attribute.int(rotaryDim) })
    })
  }

  /** `q [1, tokens, qHeads · size]`, `k`, `v [1, context, kvHeads · size]`, `mask [tokens, context]` added to the scores → `[1, tokens, qHeads · size]`. */
  attention(
    q3d: Ref,
    k3d: Ref,
    v3d: Ref,
    mask: Ref | undefined,
    { kvHeads, qHeads, scale, softcap }: AttentionOptions
  ): Ref {
    return this.op("Attention", [q3d, k3d, v3d, mask], {
      q_num_heads: attribute.int(qHeads),
      kv_num_heads: attribute.int(kvHeads),
      scale: attribute.float(scale),
      ...(softcap === undefined ? {} : { softcap: attribute.float(softcap) })
    })
  }

  /** Index (i64) of the largest along an axis, the first of equals; the axis goes. */
  argMax(x: Ref, axis = -1): Ref {
    return this.op("ArgMax", [x], { axis: attribute.int(axis), keepdims: attribute.int(0) })
  }

  #indices(name: string, values: ReadonlyArray<number>): Ref {
    return this.constant(name, "i64", [values.length], values)
  }
}
