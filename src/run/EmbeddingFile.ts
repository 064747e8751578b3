import { Effect, FileSystem } from "effect"
import type { RuntimeConfig } from "../devkit/RuntimeConfig.ts"
import { decode as decodeNpy } from "../tensor/Npy.ts"
import type { EmbeddingTable } from "./Protocol.ts"
import { Damaged, RunError, Unreadable } from "./RunError.ts"

// A header of ours is 128 bytes; numpy's own limit is 10,000.
const HEADER_BYTES = 16_384

const npyDtypes = { bf16: "<u2", f16: "<f2", f32: "<f4", i8: "|i1" } as const

/** Where the numbers of a `.npy` file begin, after its type and shape have been checked. */
const dataOffset = Effect.fnUntraced(function*(file: string, descr: string, shape: ReadonlyArray<number>) {
  const fs = yield* FileSystem.FileSystem
  const failed = (detail: string) =>
    new RunError({ path: file, reason: new Unreadable({ detail, advice: "run the DEVKIT stage again" }) })
  const { head, size } = yield* Effect.scoped(Effect.gen(function*() {
    const handle = yield* fs.open(file)
    const { size } = yield* handle.stat
    const head = new Uint8Array(Math.min(Number(size), HEADER_BYTES))
    yield* handle.read(head)
    return { head, size: Number(size) }
  })).pipe(Effect.mapError((error) => failed(error.message)))
  const header = yield* Effect.mapError(
    Effect.fromResult(decodeNpy(head, size)),
    ({ expected, found }) => new RunError({ path: file, reason: new Damaged({ where: "header", expected, found }) })
  )
  const expected = `${descr} [${shape.join(" × ")}]`
  const found = `${header.descr} [${header.shape.join(" × ")}]`
  if (expected !== found || header.fortran) {
    return yield* new RunError({ path: file, reason: new Damaged({ where: "header", expected, found }) })
  }
  return header.dataOffset
})

/** Where a build's embedding rows are; the files' headers are checked against the configuration. */
export const embeddingTable = Effect.fnUntraced(function*(config: RuntimeConfig, devkit: string) {
  const { dtype, file, multiplier, scales } = config.embeddings
  const path = `${devkit}/${file}`
  const offset = yield* dataOffset(path, npyDtypes[dtype], [config.vocabulary, config.hidden])
  const scalesPath = scales === null ? undefined : `${devkit}/${scales}`
  const table: EmbeddingTable = {
    file: path,
    offset,
    dtype,
    multiplier,
    scales: scalesPath === undefined
      ? undefined
      : { file: scalesPath, offset: yield* dataOffset(scalesPath, npyDtypes.bf16, [config.vocabulary]) }
  }
  return table
})
