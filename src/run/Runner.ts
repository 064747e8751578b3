import { Config, Duration, Effect, FileSystem, Path, Schema, type Scope, Stream } from "effect"
import { RuntimeConfig, runtimeConfigPath } from "../devkit/RuntimeConfig.ts"
import { openArchive } from "./Archive.ts"
import { type Event, generate, type Limits, type Request } from "./Generator.ts"
import { Damaged, RunError, Unreadable } from "./RunError.ts"
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

const configOf = Schema.decodeUnknownEffect(Schema.fromJsonString(RuntimeConfig))

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
    const text = yield* Effect.mapError(
      fs.readFileString(file),
      (error) =>
        new RunError({
          path: file,
          reason: new Unreadable({ detail: error.message, advice: `is ${out} the output folder of a finished build?` })
        })
    )
    const config = yield* Effect.mapError(
      configOf(text),
      (error) =>
        new RunError({ path: file, reason: new Damaged({ where: "JSON", expected: "format 1", found: error.message }) })
    )
    const folder = cache === undefined
      ? yield* Effect.mapError(
        cacheFolder,
        (error) =>
          new RunError({
            path: "LLIMA_CACHE",
            reason: new Unreadable({ detail: error.message, advice: "give it the path of a folder" })
          })
      )
      : path.resolve(cache)
    yield* Effect.mapError(
      fs.makeDirectory(folder, { recursive: true }),
      (error) =>
        new RunError({
          path: folder,
          reason: new Unreadable({ detail: error.message, advice: "set LLIMA_CACHE to a folder that may be written" })
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
