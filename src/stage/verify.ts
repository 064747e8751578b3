import { Effect } from "effect"
import type { Plan, Step } from "../plan/Plan.ts"
import { Progress } from "./Progress.ts"
import type { Stage } from "./Stage.ts"
import { Verifier } from "./Verifier.ts"
import { Workspace } from "./Workspace.ts"

const run = Effect.fn("verify.run")(function*({ reads, stage }: Step, { job }: Plan) {
  const workspace = yield* Workspace
  const progress = yield* Progress
  const verifier = yield* Verifier
  const { verify: mode } = job.request
  if (mode === "none") return { outputs: [] }
  const share = reads / Math.max(1, job.model.facts.layers.length)
  const facts = yield* verifier.verify(job, {
    mode,
    output: workspace.root,
    advance: () => progress.advance(stage, share)
  })
  return { outputs: [], facts }
})

/** VERIFY: the programs in the archives beside the float model; leaves its figures in its stamp. */
export const verify = {
  name: "VERIFY",
  flag: undefined,
  unit: "bytes",
  pace: 6,
  tells: true,
  run
} as const satisfies Stage<unknown, unknown>
