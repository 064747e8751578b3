import { Effect, FileSystem, Result, type Scope } from "effect"
import type { RuntimeConfig } from "../devkit/RuntimeConfig.ts"
import type { Graph } from "../onnx/Graph.ts"
import { encode } from "../onnx/OnnxFile.ts"
import { withAccuracy } from "../target/lower/nbits.ts"
import { reasonOf } from "../verify/Runtime.ts"
import { RunFailed } from "../verify/RuntimeError.ts"
import { makeThread, workerUrl } from "../verify/Thread.ts"
import { embeddingTable } from "./EmbeddingFile.ts"
import { link, type Phase, ropesOf } from "./Linker.ts"
import type { Answer, Build, EmbeddingTable, Question, Step, Wanted } from "./Protocol.ts"
import { PromptInvalid, PromptTooLong, RunError } from "./RunError.ts"
import { marked } from "./States.ts"

/** A build that is to run. */
export interface SessionOptions {
  /** what errors call the build */
  readonly path: string
  readonly config: RuntimeConfig
  /** absolute folder of runtime.json and the embeddings */
  readonly devkit: string
  /** the graph of a program; undefined where the build has none */
  readonly graphOf: (program: string) => Graph | undefined
  /** absolute folder that the graphs' locations start from */
  readonly folder: string
  /** threads inside an operator */
  readonly threads: number
  /** float32 sums in every product */
  readonly exact: boolean
  /** new rows are copied into the caches even where onnxruntime could write them in place */
  readonly copyCaches: boolean
}

/** What running tokens gave. */
export interface Advance {
  /** likeliest token after the last one; -1 when it was not wanted */
  readonly token: number
  /** `[rows × vocabulary]`: of the last token, or of all tokens, pass by pass; empty when none were wanted */
  readonly logits: ReadonlyArray<Float32Array>
}

/** What running a prompt gave; `run` of its tokens were not known from before. */
export interface Prefilled extends Advance {
  readonly run: number
}

/** One sequence of tokens and the model's state after it. */
export interface Session {
  /** Makes the sequence `ids`: what it shares with the one before is kept, except when logits of all tokens are wanted. */
  readonly prefill: (ids: ReadonlyArray<number>, wanted: Wanted) => Effect.Effect<Prefilled, RunError>
  /** Adds one token. */
  readonly decode: (id: number, wanted: Wanted) => Effect.Effect<Advance, RunError>
  /** tokens of the sequence */
  readonly length: () => number
}

const buildOf = (config: RuntimeConfig, embeddings: EmbeddingTable): Build => ({
  hidden: config.hidden,
  vocabulary: config.vocabulary,
  layers: config.layers.map((layer) =>
    layer.kind === "convolution"
      ? { kind: layer.kind, rows: layer.stateRows, width: layer.stateWidth }
      : { kind: layer.kind, width: layer.cacheWidth, window: layer.window }
  ),
  ropes: ropesOf(config).map((rope) => ({
    name: rope.name,
    inverseFrequencies: rope.inverseFrequencies,
    long: rope.long?.inverseFrequencies,
    attentionFactor: rope.attentionFactor
  })),
  positions: config.maxNumTokens,
  groupSize: Math.min(config.groupSize, config.maxNumTokens),
  embeddings
})

// See `FAST_ACCURACY` of the lowering.
const EXACT_ACCURACY = 1

const sameBytes = (a: Uint8Array, b: Uint8Array): boolean =>
  a.length === b.length && a.every((byte, i) => byte === b[i])

/** Programs of both phases; the single one is left out where it is the group's. */
const programsOf = ({ config, exact, folder, graphOf, threads }: SessionOptions, aliased: boolean) =>
  Result.gen(function*() {
    const model = (phase: Phase) =>
      Result.map(
        link(config, { phase, graphOf, aliased }),
        (graph) => encode(exact ? withAccuracy(graph, EXACT_ACCURACY) : graph)
      )
    const group = yield* model("group")
    const single = yield* model("single")
    return { folder, group, single: sameBytes(group, single) ? undefined : single, aliased, threads }
  })

/** Opens a build: links its programs, starts the thread, and checks that new rows are where attention reads them. */
export const openSession = (
  options: SessionOptions
): Effect.Effect<Session, RunError, FileSystem.FileSystem | Scope.Scope> =>
  Effect.gen(function*() {
    const { config, copyCaches, path } = options
    const build = buildOf(config, yield* embeddingTable(config, options.devkit))
    const ask = yield* makeThread<Question, Answer>(workerUrl("session.worker", import.meta.url))
    const failed = (reason: RunError["reason"]) => new RunError({ path, reason })

    const call = Effect.fnUntraced(function*(question: Question) {
      const answer = yield* ask(question)
      return answer.kind === "opened" || answer.kind === "stepped" ? answer : yield* failed(reasonOf(answer))
    })
    const open = Effect.fnUntraced(function*(aliased: boolean) {
      const programs = yield* Effect.mapError(Effect.fromResult(programsOf(options, aliased)), failed)
      const answer = yield* call({ kind: "open", build, programs })
      return answer.kind === "opened" && answer.sound
    })
    const inPlace = !copyCaches && (yield* open(true))
    if (!inPlace) {
      if (!copyCaches) {
        yield* Effect.logWarning(
          "onnxruntime does not write cache rows in place here; they are copied, which is slower"
        )
      }
      if (!(yield* open(false))) return yield* failed(new RunFailed({ detail: "two runs of one token differ" }))
    }

    const above = Math.min(...config.ropes.map(({ long }) => long?.above ?? Infinity))
    let history: ReadonlyArray<number> = []
    const keeps = config.ropes.some(({ long }) => long?.keeps === true)
    // undefined: the rows before the border by short frequencies, those behind it by long ones
    let long: boolean | undefined = false
    // Rows of keys and values are of one token each; a state is of all before it, and there only where it was kept.
    const hasStates = config.layers.some(({ kind }) => kind === "convolution")
    let marks: ReadonlyArray<number> = []

    const step = Effect.fnUntraced(function*(given: Step) {
      const answer = yield* call({ kind: "step", step: given })
      return answer.kind === "stepped" ? answer : { token: -1, logits: undefined }
    })

    const check = (ids: ReadonlyArray<number>): RunError["reason"] | undefined => {
      const strange = ids.find((id) => !Number.isInteger(id) || id < 0 || id >= config.vocabulary)
      return ids.length === 0
        ? new PromptInvalid({ expected: "at least one token", found: "none" })
        : strange !== undefined
        ? new PromptInvalid({ expected: `token ids from 0 to ${config.vocabulary - 1}`, found: String(strange) })
        : ids.length > config.maxNumTokens
        ? new PromptTooLong({ tokens: ids.length, limit: config.maxNumTokens })
        : undefined
    }

    const prefill = Effect.fn("Session.prefill")(function*(ids: ReadonlyArray<number>, wanted: Wanted) {
      yield* Effect.annotateCurrentSpan({ tokens: ids.length })
      const problem = check(ids)
      if (problem !== undefined) return yield* failed(problem)
      const differs = ids.findIndex((id, i) => id !== history[i])
      const shared = Math.min(differs < 0 ? ids.length : differs, ids.length - 1)
      // longer runs turn all of their positions by other frequencies
      const turns = ids.length > above
      const known = !hasStates || shared === history.length
        ? shared
        : Math.max(0, ...marks.filter((mark) => mark <= shared))
      let position = wanted === "all" || turns !== long ? 0 : known
      const run = ids.length - position
      marks = marks.filter((mark) => mark <= position)
      long = turns
      history = []
      const logits: Array<Float32Array> = []
      let token = -1
      while (position < ids.length) {
        const pass = ids.slice(position, position + build.groupSize)
        const last = position + pass.length === ids.length
        const got = yield* step({
          ids: pass,
          position,
          wanted: last || wanted === "all" ? wanted : "nothing",
          long: turns,
          phase: "group",
          marks
        })
        position += pass.length
        if (hasStates) marks = marked(marks, position)
        history = ids.slice(0, position)
        token = got.token
        if (got.logits !== undefined) logits.push(got.logits)
      }
      return { token, logits, run }
    })

    const decode = (id: number, wanted: Wanted): Effect.Effect<Advance, RunError> => {
      const position = history.length
      const turns = position + 1 > above
      if (position === 0 || (turns && long === false && !keeps)) return prefill([...history, id], wanted)
      const problem = check([id]) ?? (position < config.maxNumTokens
        ? undefined
        : new PromptTooLong({ tokens: position + 1, limit: config.maxNumTokens }))
      if (problem !== undefined) return Effect.fail(failed(problem))
      const one: Step = { ids: [id], position, wanted, long: turns, phase: "single", marks }
      return Effect.map(step(one), ({ logits, token }) => {
        history = [...history, id]
        if (long !== turns) long = undefined
        return { token, logits: logits === undefined ? [] : [logits] }
      })
    }
    return { prefill, decode, length: () => history.length }
  })
