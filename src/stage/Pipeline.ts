import { Deferred, Effect, Runtime, Schema, Semaphore } from "effect"
import { CliError } from "effect/cli"

/** What the pipeline must know of a step to order it. `memory` in bytes. */
export interface Runnable {
  readonly id: string
  readonly needs: ReadonlyArray<string>
  readonly memory: number
}

/** Exit codes that say that something given was bad, or asked for too much. */
const inputCodes: ReadonlySet<number> = new Set([3, 4])

/** All failures of one run; steps that had begun were let finish, no new one was begun. */
export class StepsFailed extends Schema.TaggedError<StepsFailed>()("StepsFailed", {
  failures: Schema.Array(Schema.Struct({ step: Schema.String, message: Schema.String, exitCode: Schema.Int })),
  skipped: Schema.Int
}) {
  override readonly [Runtime.errorExitCode] = this.failures[0]?.exitCode ?? 1
  override get message() {
    const lines = this.failures.map(({ message, step }) => `${step}: ${message}`)
    const skipped = this.skipped === 1 ? "1 step was not begun" : `${this.skipped} steps were not begun`
    // what is put right in an input makes new work of all that came of it
    const advice = this.failures.some(({ exitCode }) => inputCodes.has(exitCode))
      ? "put that right and run again (--resume keeps what came of files that have not changed)"
      : "finished ones are kept, --resume goes on from here"
    return [...lines, ...this.skipped > 0 ? [`${skipped}; ${advice}`] : []].join("\n")
  }
  override get [CliError.userMessage]() {
    return this.message
  }
}

/** An error with a text for people; its exit code is the error's own, else 1. */
export interface StepFailure {
  readonly message: string
}

const exitCodeOf = (error: object): number => {
  const code: unknown = Runtime.errorExitCode in error ? error[Runtime.errorExitCode] : undefined
  return typeof code === "number" ? code : 1
}

const MIB = 2 ** 20

/**
 * Runs each step once the steps that it needs have succeeded: at most `jobs` at a time, their `memory` together within the
 * limit (a step alone larger than the limit runs alone; the plan refuses it before). Results in the order of `steps`.
 */
export const walk = <S extends Runnable, A, E extends StepFailure, R>(
  steps: ReadonlyArray<S>,
  limits: { readonly jobs: number; readonly memory: number },
  run: (step: S) => Effect.Effect<A, E, R>
): Effect.Effect<ReadonlyArray<A>, StepsFailed, R> =>
  Effect.suspend(() => {
    const slots = Semaphore.makeUnsafe(limits.jobs)
    const total = Math.max(1, Math.floor(limits.memory / MIB))
    const mebibytes = Semaphore.makeUnsafe(total)
    const done = new Map(steps.map(({ id }) => [id, Deferred.makeUnsafe<boolean>()]))
    const failures: Array<StepsFailed["failures"][number]> = []
    const results: Array<A> = []
    let skipped = 0

    const one = (step: S, position: number) =>
      Effect.gen(function*() {
        for (const need of step.needs) {
          const ended = done.get(need)
          if (ended !== undefined && !(yield* Deferred.await(ended))) {
            skipped++
            return false
          }
        }
        const permits = Math.min(total, Math.max(1, Math.ceil(step.memory / MIB)))
        const attempt = Effect.suspend(() => {
          if (failures.length > 0) {
            skipped++
            return Effect.succeed(false)
          }
          return Effect.match(run(step), {
            onSuccess: (result) => {
              results[position] = result
              return true
            },
            onFailure: (error) => {
              failures.push({ step: step.id, message: error.message, exitCode: exitCodeOf(error) })
              return false
            }
          })
        })
        return yield* slots.withPermits(1)(mebibytes.withPermits(permits)(attempt))
      }).pipe(Effect.flatMap((succeeded) => {
        const ended = done.get(step.id)
        return ended === undefined ? Effect.void : Deferred.succeed(ended, succeeded)
      }))

    return Effect.forEach(steps, one, { concurrency: "unbounded", discard: true }).pipe(
      Effect.flatMap(() =>
        failures.length > 0 ? Effect.fail(new StepsFailed({ failures, skipped })) : Effect.succeed(results)
      )
    )
  })
