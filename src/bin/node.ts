// The platform: signals, pipes and the exit of a Node process. Submodule imports keep the start short (0.3 s of 0.5 otherwise).
import * as NodeRuntime from "@effect/platform-node/NodeRuntime"
import * as NodeServices from "@effect/platform-node/NodeServices"
import { Effect, Layer } from "effect"
import type { Command } from "effect/cli"
import { program, teardown } from "../cli/Main.ts"
import { showCursor } from "../cli/ProgressDisplay.ts"
import { stoppingText } from "../cli/ProgressState.ts"
import { Screen } from "../cli/Screen.ts"
import { interruptedCode } from "../cli/Session.ts"
import { version } from "../stage/Version.ts"

const live = process.stderr.isTTY === true && process.env["CI"] === undefined && process.env["TERM"] !== "dumb"
let signals = 0

const screen = Layer.succeed(Screen, {
  live,
  columns: () => process.stderr.columns,
  rows: () => process.stderr.rows,
  write: (text) => void process.stderr.write(text),
  stopping: () => signals > 0,
  // kilobytes (libuv)
  peakMemory: () => process.resourceUsage().maxRSS * 1024
})

/** A reader that has gone (`| head`) ends the program quietly; a second Ctrl-C ends it at once, finished or not. */
const settle = () => {
  for (const stream of [process.stdout, process.stderr]) {
    stream.on("error", (error: NodeJS.ErrnoException) => process.exit(error.code === "EPIPE" ? 0 : 1))
  }
  process.on("SIGINT", () => {
    signals++
    if (signals === 1) return live ? undefined : void process.stderr.write(`${stoppingText}\n`)
    if (live) process.stderr.write(showCursor)
    process.exit(interruptedCode)
  })
}

/** Runs a program of ours with this process's arguments, signals and streams. */
export const runProgram = <const Name extends string, Input, E, ContextInput>(
  command: Command.Command<Name, Input, ContextInput, E, NodeServices.NodeServices>
): void => {
  settle()
  NodeRuntime.runMain(
    program(command, version, process.argv.slice(2)).pipe(Effect.provide([NodeServices.layer, screen])),
    { teardown, disableErrorReporting: true }
  )
}
