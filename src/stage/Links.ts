import { Effect } from "effect"
import type { Job } from "../plan/Job.ts"
import { weightFiles } from "../plan/Plan.ts"
import { Workspace } from "./Workspace.ts"

/** Puts the checkpoint's weight files into `<folder>/weights` without copying them where the disk allows. */
export const linkWeights = Effect.fn("Links.linkWeights")(function*(job: Job, folder: string) {
  const workspace = yield* Workspace
  const outputs = yield* Effect.forEach(
    weightFiles(job),
    (file) =>
      Effect.map(workspace.linkSource(file, `${folder}/weights`), ({ bytes, path }) => ({
        path,
        // The checkpoint's own bytes are not hashed here: gigabytes for nothing. A link whose time changed is made again.
        sha256: `source-${bytes}`
      }))
  )
  return { outputs }
})
