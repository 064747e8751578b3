import { Effect, Path } from "effect"
import type { Job } from "../plan/Job.ts"
import { weightFiles } from "../plan/Plan.ts"
import { Workspace } from "./Workspace.ts"

/**
 * Puts the checkpoint's weight files into `<folder>/weights` without copying them where the disk allows; `from` is a folder that
 * has them in its `weights` already, so that of a checkpoint on another disk there is one copy.
 */
export const linkWeights = Effect.fn("Links.linkWeights")(function*(job: Job, folder: string, from?: string) {
  const workspace = yield* Workspace
  const { basename } = yield* Path.Path
  const outputs = yield* Effect.forEach(weightFiles(job), (file) =>
    Effect.gen(function*() {
      const source = from === undefined ? file : yield* workspace.at(`${from}/weights/${basename(file)}`)
      const { bytes, path } = yield* workspace.linkSource(source, `${folder}/weights`)
      // The checkpoint's own bytes are not hashed here: gigabytes for nothing. A link whose time changed is made again.
      return { path, sha256: `source-${bytes}` }
    }))
  return { outputs }
})
