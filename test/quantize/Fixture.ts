import { Schema } from "effect"
import { readFileSync } from "node:fs"
import { join } from "node:path"

const Header = Schema.Record(
  Schema.String,
  Schema.Struct({
    dtype: Schema.String,
    shape: Schema.Array(Schema.Int),
    data_offsets: Schema.Tuple([Schema.Int, Schema.Int])
  })
)

/** A tensor of a small safetensors file: bytes that begin at an aligned address, and where they are in the file. */
export interface FixtureTensor {
  readonly shape: ReadonlyArray<number>
  readonly bytes: Uint8Array<ArrayBuffer>
  readonly offset: number
}

/** All tensors of a fixture. `__metadata__` is not expected. */
export const readFixture = (folder: string, file: string): ReadonlyMap<string, FixtureTensor> => {
  const all = readFileSync(join(folder, file))
  const length = Number(all.readBigUInt64LE(0))
  const { __metadata__: _, ...header } = JSON.parse(all.toString("utf8", 8, 8 + length))
  return new Map(
    Object.entries(Schema.decodeUnknownSync(Header)(header)).map(([name, { data_offsets: [from, to], shape }]) => {
      const start = 8 + length
      return [name, { shape, offset: start + from, bytes: Uint8Array.from(all.subarray(start + from, start + to)) }]
    })
  )
}

/** A tensor that has to be there. */
export const pick = (tensors: ReadonlyMap<string, FixtureTensor>, name: string): FixtureTensor => {
  const found = tensors.get(name)
  if (found === undefined) throw new Error(`the fixture has no ${name}`)
  return found
}
