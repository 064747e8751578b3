import { Effect, type Scope } from "effect"
import { once } from "node:events"
import { setTimeout } from "node:timers/promises"
import { type Transferable, Worker } from "node:worker_threads"
import { LAST } from "./Answering.ts"

/** The thread ended, or could not begin. */
export interface Lost {
  readonly kind: "lost"
  readonly detail: string
}

/** A question with the number that its answer bears. */
export interface Numbered<A> {
  readonly id: number
  readonly body: A
}

/** A worker thread that answers questions one by one, in their order. */
export type Ask<Question, Answer> = (
  question: Question,
  transfer?: ReadonlyArray<Transferable>
) => Effect.Effect<Answer | Lost>

/** The worker module `name` beside the module at `base`: TypeScript in the sources, JavaScript in a bundle. */
export const workerUrl = (name: string, base: string): URL =>
  new URL(`./${name}.${base.endsWith(".ts") ? "ts" : "js"}`, base)

/** How long a thread may work on what it has when its scope closes; milliseconds. A pass of a large model takes a few seconds. */
const PATIENCE = 20_000

/** Ends a thread when it is at rest: one that is stopped inside onnxruntime takes the whole process with it (`Napi::Error`, 1.30). */
const end = async (worker: Worker): Promise<void> => {
  const patience = new AbortController()
  const gone = once(worker, "exit")
  worker.postMessage(LAST, [])
  await Promise.race([gone, setTimeout(PATIENCE, undefined, { signal: patience.signal })])
  patience.abort()
  await worker.terminate()
}

/**
 * A thread running `entry`, started by the first question and ended with the scope. Plain messages: a call costs 0.05 ms, a quarter
 * of effect/rpc's (effect4.md §4). An interrupted question is still worked on; its answer goes nowhere.
 */
export const makeThread = <Question, Answer>(
  entry: URL,
  workerData: unknown = undefined
): Effect.Effect<Ask<Question, Answer>, never, Scope.Scope> =>
  Effect.gen(function*() {
    const waiting = new Map<number, (answer: Answer | Lost) => void>()
    let worker: Worker | undefined
    let count = 0
    yield* Effect.addFinalizer(() => Effect.promise(() => worker === undefined ? Promise.resolve() : end(worker)))

    const lose = (detail: string): void => {
      worker = undefined
      for (const settle of waiting.values()) settle({ kind: "lost", detail })
      waiting.clear()
    }
    const start = (): Worker => {
      const thread = new Worker(entry, { workerData })
      thread.on("message", ({ body, id }: Numbered<Answer>) => {
        waiting.get(id)?.(body)
        waiting.delete(id)
      })
      thread.on("error", (cause) => lose(cause instanceof Error ? cause.message : String(cause)))
      thread.on("exit", (code) => lose(`exit code ${code}`))
      return thread
    }
    return (question, transfer = []) =>
      Effect.callback<Answer | Lost>((resume) => {
        worker ??= start()
        const id = count++
        waiting.set(id, (answer) => resume(Effect.succeed(answer)))
        worker.postMessage({ id, body: question }, [...transfer])
      })
  })
