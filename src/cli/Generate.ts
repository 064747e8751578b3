import { Console, Effect, FileSystem, Path, type PlatformError, Runtime, Schema, Stream, Terminal } from "effect"
import { CliError } from "effect/cli"
import type { RunRequest } from "../plan/Request.ts"
import type { Request, Stop, Timings } from "../run/Generator.ts"
import type { RunError } from "../run/RunError.ts"
import { open, type Runner } from "../run/Runner.ts"
import type { Message } from "../run/Tokenizer.ts"
import { encodeHeader } from "../tensor/Npy.ts"
import { NotBuilt } from "./NotBuilt.ts"

/** A file that `llima run` was given is not what it should be. */
export class InputInvalid extends Schema.TaggedError<InputInvalid>()("InputInvalid", {
  path: Schema.String,
  expected: Schema.String,
  found: Schema.String
}) {
  override readonly [Runtime.errorExitCode] = 3
  override get message() {
    return `${this.path}: expected ${this.expected}, found ${this.found}`
  }
  override get [CliError.userMessage]() {
    return this.message
  }
}

const Ids = Schema.fromJsonString(Schema.Array(Schema.Int.check(Schema.isGreaterThanOrEqualTo(0))))

const readIds = Effect.fnUntraced(function*(file: string) {
  const fs = yield* FileSystem.FileSystem
  const invalid = (error: { readonly message: string }) =>
    new InputInvalid({ path: file, expected: "a JSON array of token ids", found: error.message })
  const text = yield* Effect.mapError(fs.readFileString(file), invalid)
  return yield* Effect.mapError(Schema.decodeEffect(Ids)(text), invalid)
})

/** Writes `[tokens × vocabulary]` f32 as the passes give it. */
const logitsWriter = Effect.fnUntraced(function*(path: string, tokens: number, vocabulary: number) {
  const fs = yield* FileSystem.FileSystem
  const failed = (error: { readonly message: string }) =>
    new InputInvalid({ path, expected: "a file that can be written", found: error.message })
  const file = yield* Effect.mapError(fs.open(path, { flag: "w" }), failed)
  yield* Effect.mapError(file.writeAll(encodeHeader("<f4", [tokens, vocabulary])), failed)
  return (rows: ReadonlyArray<Float32Array>) =>
    Effect.forEach(
      rows,
      ({ buffer, byteLength, byteOffset }) =>
        Effect.mapError(file.writeAll(new Uint8Array(buffer, byteOffset, byteLength)), failed),
      { discard: true }
    )
})

interface Answer {
  readonly ids: ReadonlyArray<number>
  readonly text: string
  readonly stop: Stop
  readonly timings: Timings | undefined
}

/** Runs one request; `show` gets the text as it comes. */
const answer = <E, R>(
  runner: Runner,
  request: Request,
  show: (text: string) => Effect.Effect<void, E, R>,
  keep: (rows: ReadonlyArray<Float32Array>) => Effect.Effect<void, InputInvalid>
) =>
  Effect.gen(function*() {
    const stream = runner.text()
    const ids: Array<number> = []
    let text = ""
    const ended: Array<Pick<Answer, "stop" | "timings">> = []
    const say = (piece: string) => {
      text += piece
      return piece === "" ? Effect.void : show(piece)
    }
    yield* Stream.runForEach(runner.generate(request), (event): Effect.Effect<void, E | InputInvalid | RunError, R> => {
      if (event.kind === "logits") return keep(event.rows)
      if (event.kind === "end") {
        ended.push(event)
        return Effect.void
      }
      ids.push(event.id)
      return Effect.flatMap(stream.push(event.id), say)
    })
    yield* Effect.flatMap(stream.end, say)
    const { stop, timings } = ended[0] ?? { stop: "length", timings: undefined }
    return { ids, text, stop, timings } satisfies Answer
  })

const speeds = (runner: Runner, { stop, timings }: Answer): string => {
  const why = stop === "context"
    ? `; stopped: the context of ${runner.config.maxNumTokens} tokens is full (--max_num_tokens)`
    : ""
  return timings === undefined
    ? ""
    : `loaded in ${runner.loadSeconds.toFixed(2)} s; prompt ${timings.promptTokens} tokens, ` +
      `${timings.promptTokensPerSecond.toFixed(0)} tokens/s; answer ${timings.newTokens} tokens, ` +
      `${timings.decodeTokensPerSecond.toFixed(1)} tokens/s${why}`
}

const requestOf = (request: RunRequest, ids: ReadonlyArray<number>): Request => ({
  ids,
  maxNewTokens: request.maxNewTokens,
  ignoreEos: request.ignoreEos,
  sampling: { temperature: request.temperature, topK: request.topK, topP: request.topP, seed: request.seed },
  logits: request.logits !== undefined
})

/** A conversation on the terminal, until its end (Ctrl-D). */
const converse = (runner: Runner, request: RunRequest) =>
  Effect.gen(function*() {
    const terminal = yield* Terminal.Terminal
    yield* Console.error("Type a message; Ctrl-D ends the conversation.")
    const turn = (
      messages: ReadonlyArray<Message>
    ): Effect.Effect<void, RunError | InputInvalid | PlatformError.PlatformError> =>
      Effect.gen(function*() {
        yield* terminal.display("> ")
        const line = yield* Effect.option(terminal.readLine)
        if (line._tag === "None") return
        const asked: ReadonlyArray<Message> = [...messages, { role: "user", content: line.value }]
        const ids = yield* runner.chat(asked)
        const said = yield* answer(runner, requestOf(request, ids), terminal.display, () => Effect.void)
        yield* terminal.display("\n")
        if (said.stop === "context") yield* Console.error(speeds(runner, said))
        return yield* turn([...asked, { role: "assistant", content: said.text }])
      })
    yield* turn([])
  })

/** `llima run`: text to stdout as it comes, or one JSON object; speeds to stderr. */
export const generate = (request: RunRequest) =>
  Effect.gen(function*() {
    if (request.image !== undefined || request.lora !== undefined) {
      return yield* new NotBuilt({
        command: `llima run ${request.image === undefined ? "--lora" : "--image"}`,
        instead: "leave the option out; adapters and pictures are not built yet"
      })
    }
    const path = yield* Path.Path
    const terminal = yield* Terminal.Terminal
    const { input } = request
    const given = input.kind === "ids" ? yield* readIds(input.file) : []
    const runner = yield* open(path.resolve(request.out), { exact: request.exact })
    if (input.kind === "chat" && input.message === undefined) return yield* converse(runner, request)
    const ids = input.kind === "ids"
      ? given
      : input.kind === "text"
      ? yield* runner.encode(input.text)
      : yield* runner.chat([{ role: "user", content: input.message ?? "" }])
    const keep = request.logits === undefined
      ? () => Effect.void
      : yield* logitsWriter(request.logits, ids.length, runner.config.vocabulary)
    const show = request.json ? () => Effect.void : terminal.display
    const said = yield* answer(runner, requestOf(request, ids), show, keep)
    if (request.json) {
      const timings = { loadSeconds: runner.loadSeconds, ...said.timings }
      return yield* Console.log(
        JSON.stringify({ prompt_ids: ids, ids: said.ids, text: said.text, stop: said.stop, timings })
      )
    }
    yield* terminal.display("\n")
    yield* Console.error(speeds(runner, said))
  }).pipe(Effect.scoped)
