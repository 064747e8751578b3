import type { Tensor } from "../../../tensor/Tensor.ts"
import { floats } from "./floats.ts"
import { gguf } from "./gguf.ts"
import { integers } from "./integers.ts"
import type { Family } from "./Rows.ts"
import { transposed } from "./transposed.ts"

const families: ReadonlyArray<Family> = [gguf, integers, floats, transposed]

/** Who reads a coded tensor. That nobody does is a defect: every format has a reader. */
export const familyOf = ({ coded, name }: Tensor): Family => {
  const family = families.find(({ reads }) => reads(coded?.format ?? ""))
  if (family === undefined) throw new Error(`${name}: nobody reads ${coded?.format ?? "(plain)"}`)
  return family
}
