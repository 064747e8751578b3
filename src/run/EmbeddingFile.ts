import { Effect, FileSystem } from "effect"
import type { RuntimeConfig } from "../devkit/RuntimeConfig.ts"
import { faultOf } from "../tensor/Fault.ts"
import { decode as decodeNpy } from "../tensor/Npy.ts"
import type { CodedRows, EmbeddingTable } from "./Protocol.ts"
import { Damaged, RunError, Unreadable } from "./RunError.ts"

// A header of ours is 128 bytes; numpy's own limit is 10,000.
const HEADER_BYTES = 16_384

const npyDtypes = { bf16: "<u2", f16: "<f2", f32: "<f4", i8: "|i1", codes: "|u1" } as const

/** Where the numbers of a `.npy` file begin, after its type (one of `descrs`) and shape have been checked. */
const numbersAt = Effect.fnUntraced(function*(
  file: string,
  descrs: ReadonlyArray<string>,
  shape: ReadonlyArray<number>
) {
  const fs = yield* FileSystem.FileSystem
  const failed = (detail: string) =>
    new RunError({
      path: file,
      reason: new Unreadable({ detail, advice: "`llima-compile MODEL -o OUT --resume` makes it again" })
    })
  const { head, size } = yield* Effect.scoped(Effect.gen(function*() {
    const handle = yield* fs.open(file)
    const { size } = yield* handle.stat
    const head = new Uint8Array(Math.min(Number(size), HEADER_BYTES))
    yield* handle.read(head)
    return { head, size: Number(size) }
  })).pipe(Effect.mapError((error) => failed(faultOf(error))))
  const header = yield* Effect.mapError(
    Effect.fromResult(decodeNpy(head, size)),
    ({ expected, found }) => new RunError({ path: file, reason: new Damaged({ where: "header", expected, found }) })
  )
  const expected = `${descrs.join(" or ")} [${shape.join(" × ")}]`
  const found = `${header.descr} [${header.shape.join(" × ")}]`
  if (!descrs.includes(header.descr) || shape.join() !== header.shape.join() || header.fortran) {
    return yield* new RunError({ path: file, reason: new Damaged({ where: "header", expected, found }) })
  }
  return { file, offset: header.dataOffset, descr: header.descr }
})

/** Where codes, scales and minimum of a table are that holds codes. */
const codedRows = Effect.fnUntraced(function*(
  { hidden, vocabulary }: RuntimeConfig,
  { bits, block, minimum, scales, zero }: NonNullable<RuntimeConfig["embeddings"]["codes"]>,
  devkit: string
) {
  const shape = [vocabulary, Math.ceil(hidden / block)]
  const scalesAt = yield* numbersAt(`${devkit}/${scales}`, ["<f2", "<f4"], shape)
  const rows: CodedRows = {
    bits,
    block,
    zero,
    scales: { ...scalesAt, dtype: scalesAt.descr === "<f2" ? "f16" : "f32" },
    minimum: minimum === null ? undefined : yield* numbersAt(`${devkit}/${minimum}`, ["<f4"], shape)
  }
  return rows
})

/** Where a build's embedding rows are; the files' headers are checked against the configuration. */
export const embeddingTable = Effect.fnUntraced(function*(config: RuntimeConfig, devkit: string) {
  const { codes, dtype, file, multiplier, scales } = config.embeddings
  const width = codes === undefined
    ? config.hidden
    : Math.ceil(config.hidden / codes.block) * codes.block * codes.bits / 8
  const table: EmbeddingTable = {
    ...yield* numbersAt(`${devkit}/${file}`, [npyDtypes[dtype]], [config.vocabulary, width]),
    dtype,
    multiplier,
    codes: codes === undefined ? undefined : yield* codedRows(config, codes, devkit),
    scales: scales === null ? undefined : yield* numbersAt(`${devkit}/${scales}`, [npyDtypes.bf16], [config.vocabulary])
  }
  return table
})
