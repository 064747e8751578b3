import { Effect, type Scope, Semaphore } from "effect"
import { Worker } from "node:worker_threads"
import type { Answer, Call, Task } from "./Task.ts"

/** The thread ended before it answered. */
export interface Lost {
  readonly kind: "lost"
  readonly detail: string
}

/** Tasks that a thread has at once: one at work, one waiting, so that it never waits for the main thread (small tensors take 0.1 ms). */
export const DEPTH = 2

interface Pending {
  readonly slot: number
  readonly settle: (answer: Answer | Lost) => void
}

interface Thread {
  readonly worker: Worker
  /** one i32 a slot: 1 = stop at the next chunk */
  readonly stop: Int32Array
  /** in the order of their messages, which is that of the answers */
  readonly pending: Array<Pending>
}

/**
 * At most `jobs` threads running `entry`, started when there is work and ended with the scope. Plain messages: a call costs
 * 0.05 ms, a quarter of effect/rpc's (effect4.md §4). An interrupted call returns after its thread has stopped at the next
 * chunk, so nothing is written afterwards.
 */
export const makePool = (
  entry: URL,
  jobs: number
): Effect.Effect<(task: Task) => Effect.Effect<Answer | Lost>, never, Scope.Scope> =>
  Effect.gen(function*() {
    const permits = yield* Semaphore.make(jobs * DEPTH)
    const threads = new Set<Thread>()
    yield* Effect.addFinalizer(() =>
      Effect.promise(() => Promise.all(Array.from(threads, ({ worker }) => worker.terminate())))
    )

    const start = (): Thread => {
      const stop = new Int32Array(new SharedArrayBuffer(4 * DEPTH))
      const thread: Thread = { worker: new Worker(entry, { workerData: stop }), stop, pending: [] }
      const lost = (detail: string): void => {
        threads.delete(thread)
        for (const { settle } of thread.pending.splice(0)) settle({ kind: "lost", detail })
      }
      thread.worker.on("message", (answer: Answer) => thread.pending.shift()?.settle(answer))
      thread.worker.on("error", (cause) => lost(cause instanceof Error ? cause.message : String(cause)))
      thread.worker.on("exit", (code) => lost(`exit code ${code}`))
      threads.add(thread)
      return thread
    }

    // A permit is a free slot somewhere, or leave to start a thread.
    const leastBusy = (): Thread => {
      const [first] = Array.from(threads).sort((a, b) => a.pending.length - b.pending.length)
      return first === undefined || (first.pending.length > 0 && threads.size < jobs) ? start() : first
    }

    return (task) =>
      permits.withPermits(1)(Effect.callback<Answer | Lost>((resume) => {
        const thread = leastBusy()
        const slot = thread.pending.some((other) => other.slot === 0) ? 1 : 0
        let isAnswered = false
        const answered = new Promise<void>((resolve) => {
          thread.pending.push({
            slot,
            settle: (answer) => {
              isAnswered = true
              resume(Effect.succeed(answer))
              resolve()
            }
          })
        })
        Atomics.store(thread.stop, slot, 0)
        const call: Call = { slot, task }
        // oxlint-disable-next-line unicorn/require-post-message-target-origin -- a thread has no origin
        thread.worker.postMessage(call)
        return Effect.promise(() => {
          // once it has answered, the slot may have another call's task
          if (!isAnswered) Atomics.store(thread.stop, slot, 1)
          return answered
        })
      }))
  })
