import { Effect } from "effect"
import { Worker } from "node:worker_threads"
import type { kinds } from "./Cases.ts"

/** What a reader may take beside the file itself. */
export const MOST_BYTES = 64 * 2 ** 20

/** Old space of the program itself and of the files that are damaged, in MB; measured: the undamaged files fail below 40. */
const OWN_MB = 44

/** Semi-spaces that hide nothing: what lives longer than a moment is in the old space. */
const YOUNG_MB = 4

/** A case takes a few milliseconds. */
const STUCK_MS = 6000

/** Loading the modules. */
const START_MS = 40_000

/** What a thread is given: the kind, how many, and where it tells which one it is at, counting from 1. */
export interface Task {
  readonly kind: keyof typeof kinds
  readonly seed: number
  readonly count: number
  readonly progress: SharedArrayBuffer
}

/** What became of the cases: how many were taken, and how many refused, by exit code and reason; or what went wrong, and in which. */
export interface Outcome {
  readonly failure: string | undefined
  readonly reasons: Readonly<Record<string, number>>
}

/** Opens damaged checkpoints in a thread that may not take more memory than allowed, and that is ended where it hangs. */
export const runBatch = (kind: Task["kind"], seed: number, count: number) =>
  Effect.callback<Outcome>((resume) => {
    const progress = new SharedArrayBuffer(4)
    const at = new Int32Array(progress)
    const workerData: Task = { kind, seed, count, progress }
    const resourceLimits = { maxOldGenerationSizeMb: OWN_MB + MOST_BYTES / 2 ** 20, maxYoungGenerationSizeMb: YOUNG_MB }
    const worker = new Worker(new URL("./hostile.worker.ts", import.meta.url), { workerData, resourceLimits })
    const ended = (outcome: Outcome) => {
      clearInterval(watchdog)
      const where = `${kind}, case ${at[0]} of seed ${seed}`
      resume(Effect.succeed({ ...outcome, failure: outcome.failure && `${where}: ${outcome.failure}` }))
      return worker.terminate()
    }
    const failed = (failure: string) => ended({ failure, reasons: {} })
    let [last, since] = [0, performance.now()]
    const watchdog = setInterval(() => {
      const now = Atomics.load(at, 0)
      if (now !== last) [last, since] = [now, performance.now()]
      else if (performance.now() - since > (last === 0 ? START_MS : STUCK_MS)) void failed("it takes too long")
    }, 200)
    worker.once("message", (outcome: Outcome) => void ended(outcome))
    worker.once("error", (error) => void failed(String(error)))
    worker.once("exit", (code) => void failed(`the thread ended with code ${code}`))
    return Effect.promise(() => {
      clearInterval(watchdog)
      return worker.terminate()
    })
  })
