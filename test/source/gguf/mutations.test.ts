import * as NodeServices from "@effect/platform-node/NodeServices"
import { assert, layer } from "@effect/vitest"
import { Cause, Effect, Exit, FileSystem, Result, Runtime } from "effect"
import { readFileSync } from "node:fs"
import { join } from "node:path"
import { find } from "../../../src/arch/registry.ts"
import * as Checkpoint from "../../../src/source/Checkpoint.ts"
import { assemble, placeAll } from "../../../src/source/gguf/Gguf.ts"
import { parseHeader } from "../../../src/source/gguf/Header.ts"
import { SourceError } from "../../../src/source/SourceError.ts"

const root = join(import.meta.dirname, "../../fixtures/gguf")

const MUTATIONS = 2400
// a file takes 5 ms, and what can go wrong is in the pure part
const THROUGH_FILES = 15
const seed = Number(process.env["LLIMA_FUZZ_SEED"] ?? 20_261_125)

/** What a reader may take beside the file itself. */
const MOST_BYTES = 64 * 2 ** 20

/** Numbers from 0 to below `below`; mulberry32. */
const randomFrom = (start: number) => {
  let state = start >>> 0
  return (below: number): number => {
    state = (state + 0x6d2b79f5) >>> 0
    let t = Math.imul(state ^ (state >>> 15), state | 1)
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61)
    return Math.floor((((t ^ (t >>> 14)) >>> 0) / 2 ** 32) * below)
  }
}

/** Counts, lengths, offsets and types that readers fall over. */
const edges: ReadonlyArray<bigint> = [
  0n,
  1n,
  2n,
  8n,
  9n,
  12n,
  13n,
  31n,
  255n,
  0x7fffffffn,
  0x80000000n,
  0xffffffffn,
  2n ** 32n,
  2n ** 40n,
  2n ** 53n,
  2n ** 63n - 1n,
  2n ** 63n,
  2n ** 64n - 8n,
  2n ** 64n - 1n
]

/** A copy of `file` with one to three faults in its first `header` bytes. */
const mutate = (file: Uint8Array, header: number, random: (below: number) => number): Uint8Array => {
  let bytes = new Uint8Array(file)
  for (let faults = 1 + random(3); faults > 0; faults--) {
    const at = random(Math.min(header, bytes.length - 8))
    const view = new DataView(bytes.buffer)
    const edge = edges[random(edges.length)] ?? 0n
    const kind = random(7)
    if (kind === 0) bytes[at] = random(256)
    else if (kind === 1) bytes[at] = (bytes[at] ?? 0) ^ (1 << random(8))
    else if (kind === 2) view.setBigUint64(at, edge, true)
    else if (kind === 3) view.setUint32(at, Number(edge & 0xffffffffn), true)
    else if (kind === 4) bytes.copyWithin(at, random(header), random(header))
    else if (kind === 5) bytes = bytes.slice(0, at + 9)
    else {
      const longer = new Uint8Array(bytes.length + 8)
      longer.set(bytes.subarray(0, at))
      longer.set(bytes.subarray(at), at + 8)
      bytes = longer
    }
    if (bytes.length < 16) break
  }
  return bytes
}

const held = (): number => {
  const { arrayBuffers, heapUsed } = process.memoryUsage()
  return arrayBuffers + heapUsed
}

/** All that `Checkpoint.open` does, without files. */
const inMemory = (bytes: Uint8Array) => {
  const file = { path: "/damaged.gguf", real: "/damaged.gguf", bytes: bytes.length, mtimeMillis: 0 }
  return Effect.fromResult(Result.gen(function*() {
    const header = yield* Result.mapError(
      parseHeader(bytes, bytes.length),
      (reason) => new SourceError({ path: file.path, reason })
    )
    if (typeof header === "number") throw new Error("all bytes are there")
    const part = { file, header }
    return yield* assemble("damaged", [part], yield* placeAll([part]), new Map())
  }))
}

layer(NodeServices.layer)("open", (it) => {
  it.effect(
    `gives a value or a typed error for ${MUTATIONS} damaged headers, in bounded memory (seed ${seed})`,
    () =>
      Effect.gen(function*() {
        yield* Effect.sync(() => console.log(`seed ${seed}; LLIMA_FUZZ_SEED sets another`))
        const fs = yield* FileSystem.FileSystem
        const path = join(yield* fs.makeTempDirectoryScoped(), "damaged.gguf")
        const onDisk = (bytes: Uint8Array) => Effect.andThen(fs.writeFile(path, bytes), Checkpoint.open(path))
        const random = randomFrom(seed)
        // a plain one, one with scores, and the control of the negative cases
        const files = ["negative/valid", "phi3-Q5_1", "qwen3-Q4_1"].map((name) =>
          readFileSync(join(root, `${name}.gguf`))
        )
        const counts = { taken: 0, bad: 0, unsupported: 0 }
        for (let index = 0; index < MUTATIONS; index++) {
          const file = files[index % files.length] ?? new Uint8Array()
          const bytes = mutate(file, 12_000, random)
          const before = held()
          const exit = yield* Effect.exit(index % THROUGH_FILES === 0 ? onDisk(bytes) : inMemory(bytes))
          const where = `mutation ${index} of seed ${seed}`
          assert.isBelow(held() - before - bytes.length, MOST_BYTES, where)
          if (Exit.isSuccess(exit)) {
            counts.taken++
            exit.value.made()
            const family = find(`${exit.value.config["model_type"]}`)
            assert.isDefined(family, where)
            assert.isTrue(Result.isResult(family?.read(exit.value.config)), where)
            for (const { range } of exit.value.tensors.values()) {
              assert.isAtMost(range.offset + range.length, bytes.length, where)
            }
          } else {
            const error = Cause.squash(exit.cause)
            assert.instanceOf(error, SourceError, `${where}: ${String(error)}`)
            if (error instanceof SourceError) counts[error[Runtime.errorExitCode] === 3 ? "bad" : "unsupported"]++
          }
        }
        // each outcome occurs, so that the mutations reach every depth
        assert.isAbove(Math.min(counts.taken, counts.bad, counts.unsupported), 5, JSON.stringify(counts))
      }),
    60_000
  )
})
