import { Effect, type Scope } from "effect"
import { type Transferable, Worker } from "node:worker_threads"

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
    yield* Effect.addFinalizer(() => Effect.promise(() => worker?.terminate() ?? Promise.resolve(0)))

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
