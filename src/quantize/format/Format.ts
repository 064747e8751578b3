import type { Form } from "../../tensor/Coded.ts"
import type { Tensor } from "../../tensor/Tensor.ts"

/** A storage format of weights that were quantised elsewhere: what its numbers become here, and what they are worth. */
export interface Format {
  /** as `Coded.format` names it */
  readonly name: string
  /** the codes that take its numbers bit for bit; undefined where it has none: the tensor becomes plain numbers of its dtype */
  readonly form: (tensor: Tensor) => Form | undefined
  /** whether plain numbers of the tensor's dtype hold its numbers exactly; asked only where `form` is undefined */
  readonly exact: boolean
  /** bytes that each of the tensor's pieces has to have, by its name; not whole where the shape does not fit the format */
  readonly sizes: (tensor: Tensor) => Readonly<Record<string, number>>
  /**
   * The reference: the tensor's numbers in C order from the whole bytes of its pieces, rows in the model's order, the addend added.
   * One number at a time and without the kernels, so that these can be held against it.
   */
  readonly values: (tensor: Tensor, pieces: Readonly<Record<string, Uint8Array>>) => Float32Array
}
