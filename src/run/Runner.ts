import {
  Config,
  Duration,
  Effect,
  FileSystem,
  Option,
  Path,
  type PlatformError,
  Predicate,
  Result,
  Schema,
  type Scope,
  Stream
} from "effect"
import { RuntimeConfig, runtimeConfigPath } from "../devkit/RuntimeConfig.ts"
import { codeOf, faultOf, quoted } from "../tensor/Fault.ts"
import { openArchive } from "./Archive.ts"
import { type Event, generate, type Limits, type Request } from "./Generator.ts"
import { Damaged, NoBuild, OtherTarget, RunError, Unreadable } from "./RunError.ts"
import { openSession } from "./Session.ts"
import { type Message, openTokenizer, type TextStream } from "./Tokenizer.ts"

/** How a build is opened. */
export interface RunnerOptions {
  /** float32 sums in every product: slow, for comparisons */
  readonly exact?: boolean
  /** threads inside an operator; as many as there are cores when absent */
  readonly threads?: number
  /** new cache rows are copied, not written in place: slower, for comparisons */
  readonly copyCaches?: boolean
  /** folder for unpacked archives; LLIMA_CACHE, else the user's cache folder */
  readonly cache?: string
}

/** A build that is loaded and ready. One request at a time. */
export interface Runner {
  readonly config: RuntimeConfig
  /** seconds that opening took: unpacking, linking, loading */
  readonly loadSeconds: number
  /** Text → tokens, with what the tokenizer puts around them. */
  readonly encode: (text: string) => Effect.Effect<ReadonlyArray<number>, RunError>
  /** Conversation → tokens, up to where the answer begins. */
  readonly chat: (messages: ReadonlyArray<Message>) => Effect.Effect<ReadonlyArray<number>, RunError>
  readonly decode: (ids: ReadonlyArray<number>) => Effect.Effect<string, RunError>
  /** Text of an answer token by token. */
  readonly text: () => TextStream
  readonly generate: (request: Request) => Stream.Stream<Event, RunError>
}

const configOf = Schema.decodeUnknownResult(RuntimeConfig)

const damaged = (where: string, expected: string, found: string) =>
  new Damaged({ where, expected, found: quoted(found) })

/** What a text that should be runtime.json says. */
const configIn = (text: string): Result.Result<RuntimeConfig, Damaged> =>
  Result.gen(function*() {
    const json = yield* Result.try({
      try: (): unknown => JSON.parse(text),
      catch: (cause) => damaged("the file", "JSON", cause instanceof Error ? cause.message : String(cause))
    })
    const format = Predicate.hasProperty(json, "format") ? json.format : undefined
    if (format !== 1) return yield* Result.fail(damaged("format", "1", JSON.stringify(format) ?? "nothing"))
    return yield* Result.mapError(configOf(json), ({ message }) => damaged("its content", "format 1", message))
  })

const Facts = Schema.Struct({ request: Schema.Struct({ target: Schema.String }) })

/** The target that a finished build's facts name; a build of some stages has no such facts. */
const targetOf = Effect.fnUntraced(function*(folder: string) {
  const fs = yield* FileSystem.FileSystem
  const path = yield* Path.Path
  const facts = yield* fs.readFileString(path.join(folder, "build.json")).pipe(
    Effect.flatMap(Schema.decodeUnknownEffect(Schema.fromJsonString(Facts))),
    Effect.option
  )
  return Option.getOrUndefined(facts)?.request.target
})

/** Why there is no runtime.json to read. */
const notBuilt = Effect.fnUntraced(function*(folder: string, file: string, error: PlatformError.PlatformError) {
  const fs = yield* FileSystem.FileSystem
  const code = codeOf(error)
  if (code !== "ENOENT" && code !== "ENOTDIR") {
    const advice = "check its permissions"
    return yield* new RunError({ path: file, reason: new Unreadable({ detail: faultOf(error), advice }) })
  }
  const found = yield* Effect.match(fs.stat(folder), {
    onFailure: faultOf,
    onSuccess: ({ type }) =>
      type === "Directory" ? `the folder holds no build (no ${runtimeConfigPath})` : "it is a file, not a folder"
  })
  return yield* new RunError({ path: folder, reason: new NoBuild({ found }) })
})

/** LLIMA_CACHE, else `llima` in the user's cache folder. */
const cacheFolder = Effect.gen(function*() {
  const path = yield* Path.Path
  const named = yield* Config.option(Config.String("LLIMA_CACHE"))
  const system = yield* Config.option(Config.String("XDG_CACHE_HOME"))
  const home = yield* Config.option(Config.String("HOME"))
  if (named._tag === "Some") return path.resolve(named.value)
  if (system._tag === "Some" && system.value !== "") return path.join(system.value, "llima")
  return home._tag === "Some" ? path.join(home.value, ".cache", "llima") : path.resolve(".llima-cache")
})

/** Opens the build of an output folder: archives are unpacked once into the cache, programs linked, weights mapped. */
export const open = Effect.fn("Runner.open")(function*(
  out: string,
  { cache, copyCaches = false, exact = false, threads = navigator.hardwareConcurrency }: RunnerOptions = {}
): Effect.fn.Return<Runner, RunError, FileSystem.FileSystem | Path.Path | Scope.Scope> {
  const fs = yield* FileSystem.FileSystem
  const path = yield* Path.Path
  const [time, opened] = yield* Effect.timed(Effect.gen(function*() {
    const file = path.resolve(out, runtimeConfigPath)
    const text = yield* Effect.catch(fs.readFileString(file), (error) => notBuilt(path.resolve(out), file, error))
    const config = yield* Effect.mapError(
      Effect.fromResult(configIn(text)),
      (reason) => new RunError({ path: file, reason })
    )
    const target = yield* targetOf(path.resolve(out))
    if (target !== undefined && target !== "host") {
      return yield* new RunError({ path: path.resolve(out), reason: new OtherTarget({ target }) })
    }
    const folder = cache === undefined
      ? yield* Effect.mapError(
        cacheFolder,
        (error) =>
          new RunError({
            path: "LLIMA_CACHE",
            reason: new Unreadable({ detail: quoted(error.message), advice: "give it the path of a folder" })
          })
      )
      : path.resolve(cache)
    yield* Effect.mapError(
      fs.makeDirectory(folder, { recursive: true }),
      (error) =>
        new RunError({
          path: folder,
          reason: new Unreadable({ detail: faultOf(error), advice: "set LLIMA_CACHE to a folder that may be written" })
        })
    )
    // A layer that the configuration file left out whole has no archive; the linker names its programs.
    const archived = config.layers.flatMap(({ programs }, i) => programs.length > 0 ? [i] : [])
    const archives = yield* Effect.forEach(
      archived,
      (i) => openArchive(path.resolve(out, "sima_files", "mpk", `layer_${i}.tar.gz`), folder),
      { concurrency: 2 }
    )
    const graphs = new Map(archives.flatMap((archive) => [...archive.graphs]))
    const devkit = path.dirname(file)
    const [session, tokenizer] = yield* Effect.all([
      openSession({
        path: path.resolve(out),
        config,
        devkit,
        folder,
        threads,
        exact,
        copyCaches,
        graphOf: (program) => graphs.get(program)
      }),
      openTokenizer(devkit)
    ], { concurrency: 2 })
    return { config, session, tokenizer }
  }))
  const { config, session, tokenizer } = opened
  const limits: Limits = {
    path: path.resolve(out),
    vocabulary: config.vocabulary,
    maxNumTokens: config.maxNumTokens,
    eosTokenIds: config.eosTokenIds
  }
  return {
    config,
    loadSeconds: Duration.toSeconds(time),
    encode: tokenizer.encode,
    chat: tokenizer.chat,
    decode: tokenizer.decode,
    text: tokenizer.stream,
    generate: (request) => generate(session, limits, request)
  }
})
