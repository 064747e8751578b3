import { Effect, FileSystem, Path } from "effect"
import { CompileRequest } from "../../src/index.ts"
import { checkpoint, type CheckpointOptions } from "../../src/testing.ts"

/** A request for a tiny checkpoint, into a folder that goes with the scope; four jobs, two layers, unless it says otherwise. */
export const requestFor = (
  model: CheckpointOptions = {},
  asked: Partial<Parameters<typeof CompileRequest.make>[0]> = {}
) =>
  Effect.gen(function*() {
    const fs = yield* FileSystem.FileSystem
    const path = yield* Path.Path
    const modelPath = yield* checkpoint(model)
    const output = path.join(yield* fs.makeTempDirectoryScoped({ prefix: "llima-out-" }), "out")
    return CompileRequest.make({ modelPath, output, jobs: 4, verify: "none", ...asked })
  })

/** Files below a folder, relative to it, sorted. */
export const filesOf = (folder: string) =>
  Effect.gen(function*() {
    const fs = yield* FileSystem.FileSystem
    const path = yield* Path.Path
    const names = yield* fs.readDirectory(folder, { recursive: true })
    const files = yield* Effect.filter(names, (name) =>
      Effect.map(fs.stat(path.join(folder, name)), ({ type }) => type === "File"))
    return files.sort()
  })

/** Bytes of a layer's archive. */
export const archiveOf = (output: string, layer: number) =>
  Effect.gen(function*() {
    const fs = yield* FileSystem.FileSystem
    const path = yield* Path.Path
    return yield* fs.readFile(path.join(output, "sima_files", "mpk", `layer_${layer}.tar.gz`))
  })
