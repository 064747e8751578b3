import { Effect, Stream } from "effect"
import type { RunRequest } from "../plan/Request.ts"
import type { Request, Stop, Timings } from "../run/Generator.ts"
import type { RunError } from "../run/RunError.ts"
import type { Runner } from "../run/Runner.ts"
import type { InputInvalid } from "./InputInvalid.ts"

/** What a model said. */
export interface Answer {
  readonly ids: ReadonlyArray<number>
  readonly text: string
  readonly stop: Stop
  readonly timings: Timings | undefined
}

/** Runs one request; `show` gets the text as it comes. */
export const answer = <E, R>(
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

/** How fast it went, and why it ended early. */
export const speeds = (runner: Runner, { stop, timings }: Answer): string => {
  const why = stop === "context"
    ? `; stopped: the context of ${runner.config.maxNumTokens} tokens is full (--max_num_tokens)`
    : ""
  return timings === undefined
    ? ""
    : `loaded in ${runner.loadSeconds.toFixed(2)} s; prompt ${timings.promptTokens} tokens, ` +
      `${timings.promptTokensPerSecond.toFixed(0)} tokens/s; answer ${timings.newTokens} tokens, ` +
      `${timings.decodeTokensPerSecond.toFixed(1)} tokens/s${why}`
}

/** What the generator is asked for these tokens. */
export const requestOf = (request: RunRequest, ids: ReadonlyArray<number>): Request => ({
  ids,
  maxNewTokens: request.maxNewTokens,
  ignoreEos: request.ignoreEos,
  sampling: { temperature: request.temperature, topK: request.topK, topP: request.topP, seed: request.seed },
  logits: request.logits !== undefined
})
