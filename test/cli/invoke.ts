import { NodeServices } from "@effect/platform-node"
import { Effect, Layer } from "effect"
import type { Command } from "effect/cli"
import { TestConsole } from "effect/testing"
import { exitCode, program } from "../../src/cli/Main.ts"

/** What a command line led to. */
export interface Outcome {
  readonly code: number
  readonly out: string
  readonly err: string
}

/** Runs a command with arguments, in this process, and reads what it printed. */
export const invoke = <const Name extends string, Input, E, ContextInput>(
  command: Command.Command<Name, Input, ContextInput, E, NodeServices.NodeServices>,
  args: ReadonlyArray<string>
): Effect.Effect<Outcome> =>
  Effect.gen(function*() {
    // One test may call more than one command, on the test's one console.
    const lines = Effect.all([TestConsole.logLines, TestConsole.errorLines])
    const before = yield* lines
    const exit = yield* Effect.exit(program(command, "9.9.9", args))
    const after = yield* lines
    const [out, err] = [0, 1].map((stream) => (after[stream] ?? []).slice(before[stream]?.length ?? 0).join("\n"))
    return { code: exitCode(exit), out: out ?? "", err: err ?? "" }
  }).pipe(Effect.provide(Layer.mergeAll(NodeServices.layer, TestConsole.layer)))

/** A handler that keeps what it was asked. */
export const recorder = <A>() => {
  const asked: Array<A> = []
  return { asked, handle: (request: A) => Effect.sync(() => void asked.push(request)) }
}
