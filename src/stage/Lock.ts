// process and node:os because a lock names the process that holds it, and Effect has no service for that.
import { Effect, FileSystem, Option, Schema, type Scope } from "effect"
import { hostname } from "node:os"
import { workspaceFailure } from "./Disk.ts"
import { FolderInUse, WorkspaceError } from "./WorkspaceError.ts"

/** Who holds a lock. `started` tells a process from a later one with the same id: clock ticks since boot, where known. */
const Holder = Schema.Struct({ pid: Schema.Int, host: Schema.String, started: Schema.NullOr(Schema.String) })
type Holder = typeof Holder.Type

const decode = Schema.decodeUnknownOption(Schema.fromJsonString(Holder))

/**
 * State and start of a process, null where the system does not tell. The second field of the line, a name, may hold spaces and
 * brackets; state is field 3, start field 22. Source: proc_pid_stat(5).
 */
const statOf = (
  fs: FileSystem.FileSystem,
  pid: number
): Effect.Effect<{ readonly state: string | null; readonly started: string | null }> =>
  fs.readFileString(`/proc/${pid}/stat`).pipe(
    Effect.map((text) => text.slice(text.lastIndexOf(")") + 2).split(" ")),
    Effect.map((fields) => ({ state: fields[0] ?? null, started: fields[19] ?? null })),
    Effect.orElseSucceed(() => ({ state: null, started: null }))
  )

const exists = (pid: number): Effect.Effect<boolean> =>
  Effect.try({
    try: () => process.kill(pid, 0),
    catch: (error) => error instanceof Error && "code" in error && error.code === "EPERM"
  }).pipe(Effect.catch((forbidden) => Effect.succeed(forbidden)))

/** Whether the holder may still run; of another machine's process nothing is known, so it may. */
const mayRun = (fs: FileSystem.FileSystem, { host, pid, started }: Holder): Effect.Effect<boolean> =>
  Effect.gen(function*() {
    if (host !== hostname()) return true
    if (!(yield* exists(pid))) return false
    const now = yield* statOf(fs, pid)
    // killed, and its parent has not waited for it
    if (now.state === "Z" || now.state === "X") return false
    return started === null || started === now.started
  })

/** Holds the lock file until the scope ends. A lock whose process is dead is taken over; fails while another run holds it. */
export const hold = (path: string): Effect.Effect<void, WorkspaceError, FileSystem.FileSystem | Scope.Scope> =>
  Effect.gen(function*() {
    const fs = yield* FileSystem.FileSystem
    const failed = workspaceFailure(path)
    const own: Holder = { pid: process.pid, host: hostname(), started: (yield* statOf(fs, process.pid)).started }
    const create = fs.writeFileString(path, JSON.stringify(own), { flag: "wx" })
    const holder = (file: string) =>
      fs.readFileString(file).pipe(Effect.map(decode), Effect.orElseSucceed(() => Option.none<Holder>()))
    const inUse = ({ host, pid }: Holder) =>
      new WorkspaceError({ path, reason: new FolderInUse({ pid, host, lock: path }) })

    const takeOver = Effect.gen(function*() {
      const found = yield* holder(path)
      if (Option.isSome(found) && (yield* mayRun(fs, found.value))) return yield* inUse(found.value)
      // Of two runs that take over at once the slower one moves the faster one's new lock: it sees that and puts it back.
      const aside = `${path}.stale-${process.pid}`
      yield* Effect.mapError(fs.rename(path, aside), failed)
      const moved = yield* holder(aside)
      if (Option.isSome(moved) && (yield* mayRun(fs, moved.value))) {
        yield* Effect.mapError(fs.rename(aside, path), failed)
        return yield* inUse(moved.value)
      }
      yield* Effect.ignore(fs.remove(aside, { force: true }))
      yield* Effect.mapError(create, failed)
    })

    yield* Effect.acquireRelease(
      Effect.catch(create, (error) => error.reason._tag === "AlreadyExists" ? takeOver : Effect.fail(failed(error))),
      () => Effect.ignore(fs.remove(path, { force: true }))
    )
  })
