// The platform: signals, pipes and the exit of a Node process. Submodule imports keep the start short (0.3 s of 0.5 otherwise).
import * as NodeRuntime from "@effect/platform-node/NodeRuntime"
import * as NodeServices from "@effect/platform-node/NodeServices"
import { Cause, Effect, Layer } from "effect"
import type { Command } from "effect/cli"
import { loggingOf } from "../cli/CommandLine.ts"
import { program, teardown } from "../cli/Main.ts"
import { showCursor } from "../cli/ProgressDisplay.ts"
import { stoppingText } from "../cli/ProgressState.ts"
import { Screen } from "../cli/Screen.ts"
import { interruptedCode, logging, notice, tell } from "../cli/Session.ts"
import { StdoutFailed } from "../cli/StdoutFailed.ts"
import { version } from "../stage/Version.ts"

const live = process.stderr.isTTY === true && process.env["CI"] === undefined && process.env["TERM"] !== "dumb"
const args = process.argv.slice(2)
const options = loggingOf(args)
let signals = 0

const screen = Layer.succeed(Screen, {
  live,
  asks: process.stdin.isTTY === true,
  columns: () => process.stderr.columns,
  rows: () => process.stderr.rows,
  write: (text) => void process.stderr.write(text),
  stopping: () => signals > 0,
  // kilobytes (libuv)
  peakMemory: () => process.resourceUsage().maxRSS * 1024
})

const leave = (code: number): never => {
  if (live) process.stderr.write(showCursor)
  process.exit(code)
}

/**
 * A reader that has gone (`| head`) ends the program quietly, a full disk with one line; what stderr cannot take nobody can be told of. A
 * terminal that goes away stops the work as SIGTERM does; a second Ctrl-C ends it at once, finished or not.
 */
const settle = () => {
  process.stdout.on("error", ({ code = "", message }: NodeJS.ErrnoException) => {
    if (code === "EPIPE") return leave(0)
    const told = tell(options, Cause.fail(new StdoutFailed({ code, text: message })))
    return leave(Effect.runSync(Effect.provide(told, logging(options))).exitCode)
  })
  // the work goes on without whoever read it
  process.stderr.on("error", () => undefined)
  process.on("SIGHUP", () => void process.emit("SIGTERM", "SIGTERM"))
  process.on("SIGINT", () => {
    signals++
    if (signals > 1) leave(interruptedCode)
    if (!live) Effect.runSync(notice(options, stoppingText))
  })
}

/** Runs a program of ours with this process's arguments, signals and streams. */
export const runProgram = <const Name extends string, Input, E, ContextInput>(
  command: Command.Command<Name, Input, ContextInput, E, NodeServices.NodeServices>
): void => {
  settle()
  NodeRuntime.runMain(
    program(command, version, args).pipe(Effect.provide([NodeServices.layer, screen])),
    { teardown, disableErrorReporting: true }
  )
}
