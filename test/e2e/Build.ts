import { NodeServices } from "@effect/platform-node"
import { assert } from "@effect/vitest"
import { Effect, Layer, References, Runtime, type Scope, Stream } from "effect"
import { createHash } from "node:crypto"
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync } from "node:fs"
import { tmpdir } from "node:os"
import { join, relative } from "node:path"
import { CompileRequest } from "../../src/plan/Request.ts"
import type { Event, Request } from "../../src/run/Generator.ts"
import { open, type Runner } from "../../src/run/Runner.ts"
import type { BuildReport } from "../../src/stage/BuildReport.ts"
import { Compiler } from "../../src/stage/Compiler.ts"
import { Progress } from "../../src/stage/Progress.ts"
import { compilerFor } from "../../src/stage/Services.ts"

/** What the tests of whole builds run on. */
export const Platform = Layer.mergeAll(
  NodeServices.layer,
  Progress.layerSilent,
  // what a build logs is in its report too
  Layer.succeed(References.MinimumLogLevel, "Error")
)

/** A fixture's folder. */
export const fixture = (name: string): string => join(import.meta.dirname, "../fixtures", name)

/** A checkpoint of `test/fixtures/text`. */
export const model = (name: string): string => fixture(`text/${name}`)

/** A folder that is removed with the scope. */
export const folder: Effect.Effect<string, never, Scope.Scope> = Effect.acquireRelease(
  Effect.sync(() => mkdtempSync(join(tmpdir(), "llima-e2e-"))),
  (path) => Effect.sync(() => rmSync(path, { recursive: true, force: true }))
)

/** What a test asks; the rest is as the command line has it. */
export type Asked = Parameters<typeof CompileRequest.make>[0]

/** Compiles as the program does, without comparing programs with the float model unless that is asked for. */
export const compile = (asked: Asked) => {
  const request = CompileRequest.make({ verify: "none", ...asked })
  return Effect.provide(Effect.flatMap(Compiler, (compiler) => compiler.compile(request)), compilerFor(request))
}

/** Plans as the program does. */
export const plan = (asked: Asked) => {
  const request = CompileRequest.make(asked)
  return Effect.provide(Effect.flatMap(Compiler, (compiler) => compiler.plan(request)), compilerFor(request))
}

/** The code that the program would leave with, and the text that it would show. */
export const told = (error: { readonly message: string }) => ({
  code: Runtime.getErrorExitCode(error),
  message: error.message
})

/** Ids of the steps that a build ran, sorted, and of those that it kept. */
export const stepsOf = ({ steps }: BuildReport) => {
  const ids = (kept: boolean) => steps.filter((step) => step.kept === kept).map(({ id }) => id).sort()
  return { made: ids(false), kept: ids(true) }
}

/** Files below a folder, relative to it, sorted; none where there is no folder. */
export const filesOf = (root: string): ReadonlyArray<string> => {
  const below = (path: string): ReadonlyArray<string> =>
    statSync(path).isDirectory()
      ? readdirSync(path).flatMap((name) => below(join(path, name)))
      : [relative(root, path)]
  return statSync(root, { throwIfNoEntry: false }) === undefined ? [] : [...below(root)].sort()
}

/** The sha256 of every file below a folder. */
export const hashesOf = (root: string): Readonly<Record<string, string>> =>
  Object.fromEntries(
    filesOf(root).map((file) => [file, createHash("sha256").update(readFileSync(join(root, file))).digest("hex")])
  )

/** Both folders have the same files with the same bytes; says which differ. */
export const assertSameFiles = (found: string, expected: string) => {
  const [here, wanted] = [hashesOf(found), hashesOf(expected)]
  assert.isAbove(Object.keys(wanted).length, 10)
  const names = [...new Set([...Object.keys(here), ...Object.keys(wanted)])].sort()
  assert.deepStrictEqual(names.filter((name) => here[name] !== wanted[name]), [])
}

/** Both builds have the same files with the same bytes in `sima_files`. */
export const assertSameBuild = (found: string, expected: string) =>
  assertSameFiles(join(found, "sima_files"), join(expected, "sima_files"))

/** A build that is open on one thread, with its archives unpacked into a folder of the test. */
export const opened = (out: string) => Effect.flatMap(folder, (cache) => open(out, { exact: true, threads: 1, cache }))

/** What a request leads to: tokens, logits row after row, and why it ended. */
export const answer = (runner: Runner, request: Request) =>
  Effect.map(Stream.runCollect(runner.generate(request)), (events: ReadonlyArray<Event>) => ({
    ids: events.flatMap((event) => event.kind === "token" ? [event.id] : []),
    rows: events.flatMap((event) => event.kind === "logits" ? event.rows : []),
    stop: events.flatMap((event) => event.kind === "end" ? [event.stop] : [])[0]
  }))
