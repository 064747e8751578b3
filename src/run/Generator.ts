import { Clock, Effect, Option, Stream } from "effect"
import { PromptTooLong, RunError } from "./RunError.ts"
import { greedy, sample, type Sampling, uniform } from "./Sampler.ts"
import type { Advance, Session } from "./Session.ts"

/** What is to be generated. */
export interface Request {
  readonly ids: ReadonlyArray<number>
  readonly maxNewTokens: number
  /** goes on past end tokens */
  readonly ignoreEos?: boolean
  readonly sampling?: Sampling
  /** the prompt's logits are wanted */
  readonly logits?: boolean
}

/** Why an answer ended: an end token, the wished number of tokens, or the context is full. */
export type Stop = "eos" | "length" | "context"

/** Speeds of a run. */
export interface Timings {
  readonly promptTokens: number
  /** tokens of the prompt that were run; the others were known from the run before */
  readonly promptRun: number
  readonly promptSeconds: number
  readonly promptTokensPerSecond: number
  readonly newTokens: number
  readonly decodeSeconds: number
  readonly decodeTokensPerSecond: number
}

/** What happens while a request is worked on. `logits` are rows `[tokens × vocabulary]` of the prompt, pass by pass. */
export type Event =
  | { readonly kind: "logits"; readonly rows: ReadonlyArray<Float32Array> }
  | { readonly kind: "token"; readonly id: number }
  | { readonly kind: "end"; readonly stop: Stop; readonly timings: Timings }

/** What a generator must know of the model. */
export interface Limits {
  readonly path: string
  readonly vocabulary: number
  readonly maxNumTokens: number
  readonly eosTokenIds: ReadonlyArray<number>
}

const seconds = (from: bigint, to: bigint): number => Number(to - from) / 1e9

const rate = (tokens: number, time: number): number => time > 0 ? tokens / time : 0

/** The events of a request, one token after the other, ended by `end`. An end token is an event too. */
export const generate = (
  session: Session,
  { eosTokenIds, maxNumTokens, path, vocabulary }: Limits,
  request: Request
): Stream.Stream<Event, RunError> => {
  const { ids, ignoreEos = false, maxNewTokens, sampling = greedy } = request
  const choosesGreedily = sampling.temperature === 0
  const random = uniform(sampling.seed)
  const ends = new Set(ignoreEos ? [] : eosTokenIds)
  const wanted = choosesGreedily ? "token" : "logits"
  const lastRow = (logits: ReadonlyArray<Float32Array>): Float32Array =>
    logits.at(-1)?.slice(-vocabulary) ?? new Float32Array()
  const choose = ({ logits, token }: Advance): number =>
    choosesGreedily && token >= 0 ? token : sample(lastRow(logits), sampling, choosesGreedily ? 0 : random())

  interface State {
    readonly begun: bigint
    readonly filled: bigint
    readonly run: number
    readonly made: number
    readonly token: number
  }
  const finish = (state: State, stop: Stop) =>
    Effect.map(Clock.currentTimeNanos, (now): Event => {
      const promptSeconds = seconds(state.begun, state.filled)
      const decodeSeconds = seconds(state.filled, now)
      // the first token comes out of the prompt's pass
      const decoded = Math.max(0, state.made - 1)
      return {
        kind: "end",
        stop,
        timings: {
          promptTokens: ids.length,
          promptRun: state.run,
          promptSeconds,
          promptTokensPerSecond: rate(state.run, promptSeconds),
          newTokens: state.made,
          decodeSeconds,
          decodeTokensPerSecond: rate(decoded, decodeSeconds)
        }
      }
    })

  const begin = Effect.gen(function*() {
    if (ids.length >= maxNumTokens && maxNewTokens > 0) {
      return yield* new RunError({ path, reason: new PromptTooLong({ tokens: ids.length, limit: maxNumTokens }) })
    }
    const begun = yield* Clock.currentTimeNanos
    const got = yield* session.prefill(ids, request.logits === true ? "all" : wanted)
    const filled = yield* Clock.currentTimeNanos
    const state: State = { begun, filled, run: got.run, made: 0, token: maxNewTokens > 0 ? choose(got) : -1 }
    return { state, logits: got.logits }
  })

  const next = Effect.fnUntraced(function*(state: State) {
    const made = state.made + 1
    const full = ids.length + made >= maxNumTokens
    const stop: Stop | undefined = ends.has(state.token)
      ? "eos"
      : made >= maxNewTokens
      ? "length"
      : full
      ? "context"
      : undefined
    const event: Event = { kind: "token", id: state.token }
    if (stop !== undefined) {
      const events: ReadonlyArray<Event> = [event, yield* finish({ ...state, made }, stop)]
      return [events, Option.none<State>()] as const
    }
    const got = yield* session.decode(state.token, wanted)
    const events: ReadonlyArray<Event> = [event]
    return [events, Option.some<State>({ ...state, made, token: choose(got) })] as const
  })

  return Stream.unwrap(Effect.map(begin, ({ logits, state }) => {
    const first: Stream.Stream<Event, RunError> = request.logits === true
      ? Stream.make({ kind: "logits", rows: logits } as const)
      : Stream.empty
    const rest: Stream.Stream<Event, RunError> = maxNewTokens === 0
      ? Stream.fromEffect(finish(state, "length"))
      : Stream.paginate(state, next)
    return Stream.concat(first, rest)
  }))
}
