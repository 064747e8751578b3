import { Context, Effect, Layer, type Scope } from "effect"
import type { Answer, Question, Values } from "./Messages.ts"
import type { SessionOptions } from "./Ort.ts"
import { GraphRefused, NotInstalled, RunFailed, RuntimeError, ThreadLost } from "./RuntimeError.ts"
import { type Ask, type Lost, makeThread, workerUrl } from "./Thread.ts"

export type { Values } from "./Messages.ts"

/** A graph, ready to run. */
export interface Session {
  readonly inputs: ReadonlyArray<string>
  readonly outputs: ReadonlyArray<string>
  /** Values of the fetched outputs by name; all outputs where none are named. */
  readonly run: (
    feeds: Readonly<Record<string, Values>>,
    fetches?: ReadonlyArray<string>
  ) => Effect.Effect<Readonly<Record<string, Values>>, RuntimeError>
}

/** A graph to load. */
export interface Program {
  /** what errors call it */
  readonly name: string
  /** a ModelProto */
  readonly model: Uint8Array
  /** absolute folder that its external locations start from */
  readonly folder: string
  /** threads inside an operator; as many as there are cores when absent */
  readonly threads?: number
  /** 1: float32 sums; 4 (default): int8 activations in products that are fused at load */
  readonly accuracy?: 1 | 4
  /** how much of the graph is rewritten at load; all when absent */
  readonly optimisation?: "all" | "basic" | "disabled"
}

/** What a refusal of the thread means. */
export const reasonOf = (answer: { readonly kind: string; readonly detail: string }): RuntimeError["reason"] => {
  const { detail } = answer
  switch (answer.kind) {
    case "missing":
      return new NotInstalled({ detail })
    case "refused":
      return new GraphRefused({ detail })
    case "lost":
      return new ThreadLost({ detail })
    default:
      return new RunFailed({ detail })
  }
}

type Of<Kind extends Answer["kind"]> = Extract<Answer, { readonly kind: Kind }>

const isOf = <Kind extends Answer["kind"]>(kind: Kind, answer: Answer | Lost): answer is Of<Kind> =>
  answer.kind === kind

/** Asks and takes the one kind of answer that is none of the failures. */
const expect = <Kind extends Answer["kind"]>(
  ask: Ask<Question, Answer>,
  subject: string,
  kind: Kind,
  question: Question
): Effect.Effect<Of<Kind>, RuntimeError> =>
  Effect.flatMap(ask(question), (answer) => {
    if (isOf(kind, answer)) return Effect.succeed(answer)
    const detail = "detail" in answer ? answer.detail : `answered "${answer.kind}" to "${question.kind}"`
    return Effect.fail(new RuntimeError({ subject, reason: reasonOf({ kind: answer.kind, detail }) }))
  })

/** Runs graphs on this machine: onnxruntime in one worker thread, because it blocks the thread it runs in. */
export class Runtime extends Context.Service<Runtime, {
  /** A session that lives as long as the scope. */
  readonly load: (program: Program) => Effect.Effect<Session, RuntimeError, Scope.Scope>
}>()("llima/verify/Runtime") {
  static readonly layer: Layer.Layer<Runtime> = Layer.effect(
    Runtime,
    Effect.gen(function*() {
      const ask = yield* makeThread<Question, Answer>(workerUrl("ort.worker", import.meta.url))
      const load = Effect.fn("Runtime.load")(
        function*({ accuracy = 4, folder, model, name, optimisation = "all", threads = 0 }: Program) {
          yield* Effect.annotateCurrentSpan({ program: name })
          const options: SessionOptions = { accuracy, folder, threads, polite: true, optimisation }
          const { inputs, outputs, session } = yield* Effect.acquireRelease(
            expect(ask, name, "loaded", { kind: "load", model, options }),
            ({ session }) => Effect.ignore(expect(ask, name, "released", { kind: "release", session }))
          )
          const run = Effect.fn("Runtime.run")(function*(
            feeds: Readonly<Record<string, Values>>,
            fetches: ReadonlyArray<string> = outputs
          ) {
            const { values } = yield* expect(ask, name, "ran", { kind: "run", session, feeds, fetches })
            return values
          })
          return { inputs, outputs, run }
        }
      )
      return Runtime.of({ load })
    })
  )
}
