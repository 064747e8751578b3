import { Context, Effect, Exit, FileSystem, Layer, Option, Path, type PlatformError } from "effect"
import { freeBytes, type LinkKind, linkOrCopy, workspaceFailure } from "./Disk.ts"
import { hold } from "./Lock.ts"
import { sha256Of, type Stamp, stampName } from "./Stamp.ts"
import { look, readStamp, standing, stepsFolder } from "./Standing.ts"
import { ForeignFolder, NoSpace, OutsideFolder, WorkspaceError } from "./WorkspaceError.ts"

/** Folders of a build, relative to the output folder. */
export const folders = {
  onnx: "onnx_files",
  onnxWeights: "onnx_files/weights",
  devkit: "sima_files/devkit",
  quantized: "sima_files/quantized",
  quantizedWeights: "sima_files/quantized/weights",
  mpk: "sima_files/mpk",
  adapters: "sima_files/npy_files",
  own: ".llima",
  steps: stepsFolder
} as const

/** Folders in which a file that no step owns is left over from another configuration. */
const swept = [folders.onnx, folders.quantized, folders.mpk]
// Hashing 0.8 GB of blobs took 1.7 s of a 1B model's 5.5 s: larger files whose step has no hash are known by size and time alone.
const hashedUpTo = 2 ** 20
const leftover = /\.tmp-\d+$/

const mapped = <A>(effect: Effect.Effect<A, PlatformError.PlatformError>, where: string) =>
  Effect.mapError(effect, workspaceFailure(where))

/** A file that a step wrote, relative to the output folder; without `sha256` one that is small, or shipped, is hashed. */
export interface StepOutput {
  readonly path: string
  readonly sha256?: string
  readonly shipped?: boolean
}

/** A checkpoint's file in the output folder. */
export interface Linked {
  readonly path: string
  readonly how: LinkKind
  readonly bytes: number
}

/** The output folder: files appear whole or not at all, and stamps say which steps are finished. Paths are relative to `root` or inside it. */
export class Workspace extends Context.Service<Workspace, {
  /** absolute */
  readonly root: string
  /** the absolute path; fails for one that leaves the folder */
  readonly at: (path: string) => Effect.Effect<string, WorkspaceError>
  /** `write` fills the given temporary path; the file is then renamed, and synced by `record`. `bytes`: fails first if the disk has fewer. */
  readonly publish: <A, E, R>(
    target: string,
    write: (temporary: string) => Effect.Effect<A, E, R>,
    bytes?: number
  ) => Effect.Effect<A, E | WorkspaceError, R>
  /** Publishes a small file. */
  readonly write: (target: string, content: string | Uint8Array) => Effect.Effect<void, WorkspaceError>
  /** Publishes a file of `bytes` that `fill` writes into at will; it has its size before. */
  readonly allocate: <A, E, R>(
    target: string,
    bytes: number,
    fill: (temporary: string) => Effect.Effect<A, E, R>
  ) => Effect.Effect<A, E | WorkspaceError, R>
  /** Puts a file into `folder` under its own name: reflink, else hard link, else copy. Symbolic links are followed. */
  readonly linkSource: (file: string, folder: string) => Effect.Effect<Linked, WorkspaceError>
  /** The step is finished with this key and its outputs are what it wrote; size and time are looked at, content if the time differs. */
  readonly fresh: (step: string, key: string) => Effect.Effect<boolean, WorkspaceError>
  /** What the step left; none when it never finished. */
  readonly stamp: (step: string) => Effect.Effect<Option.Option<Stamp>>
  /** Syncs the step's published outputs to the disk, then says that it is finished. */
  readonly record: (
    step: string,
    key: string,
    outputs: ReadonlyArray<StepOutput>,
    facts?: unknown,
    seconds?: number
  ) => Effect.Effect<void, WorkspaceError>
  /** Removes stamps of other steps than these, and graphs, weights and archives that none of these owns; gives what was removed. */
  readonly sweep: (steps: ReadonlyArray<string>) => Effect.Effect<ReadonlyArray<string>, WorkspaceError>
  /** bytes that may still be written */
  readonly freeBytes: Effect.Effect<number, WorkspaceError>
}>()("llima/stage/Workspace") {
  /** Opens or makes the folder and holds it until the scope ends. `force`: also one that holds other files; they stay. */
  static readonly layer = (output: string, { force }: { readonly force: boolean }) =>
    Layer.effect(
      Workspace,
      Effect.gen(function*() {
        const fs = yield* FileSystem.FileSystem
        const path = yield* Path.Path
        const services = Context.make(FileSystem.FileSystem, fs).pipe(Context.add(Path.Path, path))
        const root = path.resolve(output)
        const within = (relative: string) => path.join(root, relative)

        // Folder by folder: Node's own recursion never ends where none can be made (/proc).
        const make = (folder: string): Effect.Effect<void, PlatformError.PlatformError> =>
          Effect.flatMap(fs.exists(folder), (there) =>
            there || path.dirname(folder) === folder
              ? Effect.void
              : Effect.andThen(make(path.dirname(folder)), fs.makeDirectory(folder)))
        const existed = yield* mapped(fs.exists(root), root)
        yield* mapped(make(root), root)
        const found = yield* mapped(fs.readDirectory(root), root)
        if (!force && found.length > 0 && !found.includes(folders.own)) {
          return yield* new WorkspaceError({
            path: root,
            reason: new ForeignFolder({ found: found.sort().slice(0, 3) })
          })
        }
        yield* mapped(fs.makeDirectory(within(folders.steps), { recursive: true }), root)
        // a run that is refused, or fails at once, leaves the place as it was
        yield* Effect.addFinalizer((exit) =>
          Effect.gen(function*() {
            const nothing = (yield* fs.readDirectory(within(folders.steps))).length === 0 &&
              (yield* fs.readDirectory(root)).every((name) => name === folders.own)
            if (Exit.isFailure(exit) && nothing) {
              yield* fs.remove(existed ? within(folders.own) : root, { recursive: true })
            }
          }).pipe(Effect.ignore)
        )
        yield* hold(within(`${folders.own}/lock`))

        /** Files below a folder, relative to the root. */
        const filesIn = (folder: string): Effect.Effect<ReadonlyArray<string>, WorkspaceError> =>
          Effect.gen(function*() {
            if (!(yield* mapped(fs.exists(within(folder)), within(folder)))) return []
            const entries = yield* mapped(fs.readDirectoryEntries(within(folder)), within(folder))
            const lists = yield* Effect.forEach(
              entries,
              ({ name, type }) =>
                type === "Directory" ? filesIn(`${folder}/${name}`) : Effect.succeed([`${folder}/${name}`])
            )
            return lists.flat()
          })
        const remove = (file: string) => mapped(fs.remove(within(file), { force: true }), within(file))
        for (const folder of [folders.onnx, "sima_files", folders.own]) {
          yield* Effect.forEach((yield* filesIn(folder)).filter((file) => leftover.test(file)), remove)
        }

        const at = (target: string) => {
          const absolute = path.resolve(root, target)
          return absolute.startsWith(root.endsWith(path.sep) ? root : root + path.sep)
            ? Effect.succeed(absolute)
            : Effect.fail(new WorkspaceError({ path: absolute, reason: new OutsideFolder({ folder: root }) }))
        }
        const free = Effect.provideContext(freeBytes(root), services)
        const requireSpace = (target: string, needed: number) =>
          Effect.gen(function*() {
            const has = yield* free
            if (has < needed) {
              return yield* new WorkspaceError({ path: target, reason: new NoSpace({ needed, free: has }) })
            }
          })
        const sync = (file: string) => Effect.scoped(Effect.flatMap(fs.open(file, { flag: "r" }), (open) => open.sync))

        let temporaries = 0
        const publish = <A, E, R>(
          target: string,
          write: (temporary: string) => Effect.Effect<A, E, R>,
          bytes?: number
        ): Effect.Effect<A, E | WorkspaceError, R> =>
          Effect.gen(function*() {
            const final = yield* at(target)
            if (bytes !== undefined) yield* requireSpace(final, bytes)
            yield* mapped(fs.makeDirectory(path.dirname(final), { recursive: true }), final)
            return yield* Effect.acquireUseRelease(
              Effect.sync(() => `${final}.tmp-${++temporaries}`),
              (temporary) => Effect.tap(write(temporary), () => mapped(fs.rename(temporary, final), final)),
              (temporary) => Effect.ignore(fs.remove(temporary, { force: true }))
            )
          }).pipe(Effect.withSpan("Workspace.publish", { attributes: { target } }))

        const write = (target: string, content: string | Uint8Array) =>
          publish(target, (temporary) =>
            mapped(
              typeof content === "string" ? fs.writeFileString(temporary, content) : fs.writeFile(temporary, content),
              temporary
            ))
        const allocate = <A, E, R>(
          target: string,
          bytes: number,
          fill: (temporary: string) => Effect.Effect<A, E, R>
        ) =>
          publish(
            target,
            (temporary) =>
              mapped(fs.writeFile(temporary, new Uint8Array()), temporary).pipe(
                Effect.andThen(mapped(fs.truncate(temporary, bytes), temporary)),
                Effect.andThen(fill(temporary))
              ),
            bytes
          )

        const linkSource = Effect.fn("Workspace.linkSource")(function*(file: string, folder: string) {
          const source = yield* mapped(fs.realPath(file), file)
          const bytes = Number((yield* mapped(fs.stat(source), file)).size)
          const target = yield* at(path.join(folder, path.basename(file)))
          const how = yield* publish(target, (temporary) =>
            Effect.provideContext(
              linkOrCopy(source, temporary).pipe(
                Effect.tapError(() => requireSpace(target, bytes))
              ),
              services
            ))
          if (how === "copy") {
            yield* Effect.logWarning(
              `copied ${file} (${bytes} bytes): it is on another disk than the output folder; one disk would need no copy`
            )
          }
          return { path: target, how, bytes }
        })

        const stampPath = (step: string) => within(`${folders.steps}/${stampName(step)}`)
        const stamp = (step: string) => Effect.provideContext(readStamp(root, step), services)
        const writeStamp = (step: string, content: Stamp) => write(stampPath(step), `${JSON.stringify(content)}\n`)
        const hash = (file: string) => mapped(Effect.provideContext(sha256Of(file), services), file)
        const record = Effect.fn("Workspace.record")(
          function*(step: string, key: string, outputs: ReadonlyArray<StepOutput>, facts?: unknown, seconds?: number) {
            const written = yield* Effect.forEach(outputs, (output) =>
              Effect.gen(function*() {
                const file = yield* at(output.path)
                yield* mapped(sync(file), file)
                const seen = yield* mapped(Effect.provideContext(look(file), services), file)
                const sha256 = output.sha256 ??
                  (output.shipped === true || seen.bytes <= hashedUpTo ? yield* hash(file) : null)
                const relative = path.relative(root, file).split(path.sep).join("/")
                return { path: relative, ...seen, sha256 }
              }), { concurrency: "unbounded" })
            yield* writeStamp(step, {
              format: 1,
              key,
              outputs: written,
              ...(facts === undefined ? {} : { facts }),
              ...(seconds === undefined ? {} : { seconds })
            })
          }
        )

        const fresh = Effect.fn("Workspace.fresh")(function*(step: string, key: string) {
          const before = yield* stamp(step)
          const now = yield* Effect.provideContext(standing(root, step, key), services)
          if (Option.isNone(before) || Option.isNone(now)) return false
          const moved = now.value.outputs.some(({ mtimeMillis }, i) =>
            mtimeMillis !== before.value.outputs[i]?.mtimeMillis
          )
          if (moved) yield* writeStamp(step, now.value)
          return true
        })

        const sweep = Effect.fn("Workspace.sweep")(function*(steps: ReadonlyArray<string>) {
          const stamps = yield* Effect.forEach(steps, stamp)
          const owned = new Set(
            stamps.flatMap(Option.toArray).flatMap(({ outputs }) => outputs.map((output) => output.path))
          )
          const kept = new Set(steps.map((step) => `${folders.steps}/${stampName(step)}`))
          const files = (yield* Effect.forEach(swept, filesIn)).flat().filter((file) => !owned.has(file))
          const old = (yield* filesIn(folders.steps)).filter((file) => !kept.has(file))
          yield* Effect.forEach([...files, ...old], remove)
          return [...files, ...old].sort()
        })

        return Workspace.of({
          root,
          at,
          publish,
          write,
          allocate,
          linkSource,
          fresh,
          stamp,
          record,
          sweep,
          freeBytes: free
        })
      })
    )
}
