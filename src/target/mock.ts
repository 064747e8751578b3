import { Cause, Clock, Context, Duration, Effect, Exit, Layer, Ref, Stream, SubscriptionRef } from "effect"
import { type CompiledPart, Target, TargetError, type TargetFacts } from "./Target.ts"

/** What the mock hardware does with a part. */
export interface MockBehaviour {
  /** time that one compilation takes; passes on the (test) clock */
  readonly delay?: Duration.Input
  /** bytes that the compilation holds while it runs */
  readonly memory?: number
  /** "transient": the part's first `times` compilations fail with `retry: "same"`; "permanent": all fail, with `retry: "never"` */
  readonly failure?: { readonly kind: "transient"; readonly times: number } | { readonly kind: "permanent" }
  /** length of the part's program in bytes, 64 when absent; it is the part's name, repeated */
  readonly bytes?: number
}

/** How a mock target is made; without options every part compiles at once. */
export interface MockOptions {
  /** by the part's name (`group_pre_0`); asked anew for every compilation */
  readonly behaviour?: (part: string) => MockBehaviour
  /** what the target says of its programs' shapes; "symbolic" when absent */
  readonly shapes?: TargetFacts["shapes"]
}

/** One compilation that the mock target was asked for and that has ended. */
export interface MockCall {
  readonly part: string
  /** 1 for the part's first compilation */
  readonly attempt: number
  readonly outcome: "succeeded" | "failed" | "interrupted"
  /** milliseconds on the (test) clock */
  readonly began: number
  readonly ended: number
  /** compilations under way when this one began, itself included */
  readonly running: number
  /** bytes that those held */
  readonly memory: number
}

/** One archive that the mock target was asked for. */
export interface MockLink {
  /** `layer_0` */
  readonly layer: string
  /** names, in the archive's order */
  readonly parts: ReadonlyArray<string>
}

interface UnderWay {
  readonly running: number
  readonly memory: number
}

const contents = (name: string, length: number): Uint8Array => {
  const text = new TextEncoder().encode(name)
  return Uint8Array.from({ length }, (_, i) => text[i % text.length] ?? 0)
}

const outcomeOf = (exit: Exit.Exit<unknown, unknown>): MockCall["outcome"] =>
  Exit.isSuccess(exit) ? "succeeded" : Cause.hasInterruptsOnly(exit.cause) ? "interrupted" : "failed"

/**
 * A target without hardware: scripted durations, failures, memory and sizes; what it was asked is recorded.
 *
 * ```ts
 * const Target = MockTarget.layer({
 *   behaviour: (part) => part === "group_pre_1" ? { failure: { kind: "transient", times: 2 } } : { delay: "1 second" }
 * })
 * ```
 */
export class MockTarget extends Context.Service<MockTarget, {
  /** in the order in which they ended */
  readonly calls: Effect.Effect<ReadonlyArray<MockCall>>
  readonly links: Effect.Effect<ReadonlyArray<MockLink>>
  /** Waits until `count` compilations are under way at once. */
  readonly running: (count: number) => Effect.Effect<void>
}>()("llima/target/MockTarget") {
  /** A `Target` and the record of what it was asked, for as long as the layer lives. */
  static readonly layer = ({ behaviour = () => ({}), shapes = "symbolic" }: MockOptions = {}): Layer.Layer<
    Target | MockTarget
  > =>
    Layer.effectContext(Effect.gen(function*() {
      const calls = yield* Ref.make<ReadonlyArray<MockCall>>([])
      const links = yield* Ref.make<ReadonlyArray<MockLink>>([])
      const underWay = yield* SubscriptionRef.make<UnderWay>({ running: 0, memory: 0 })
      const attempts = new Map<string, number>()
      const change = (running: number, memory: number) =>
        SubscriptionRef.updateAndGet(underWay, (now) => ({
          running: now.running + running,
          memory: now.memory + memory
        }))

      const compile = (part: string) => {
        const { bytes = 64, delay = 0, failure, memory = 0 } = behaviour(part)
        const begin = Effect.gen(function*() {
          const attempt = (attempts.get(part) ?? 0) + 1
          attempts.set(part, attempt)
          return { part, attempt, began: yield* Clock.currentTimeMillis, ...(yield* change(1, memory)) }
        })
        const work = Effect.fnUntraced(function*({ attempt }: { readonly attempt: number }) {
          yield* Effect.sleep(delay)
          if (failure?.kind === "permanent" || (failure?.kind === "transient" && attempt <= failure.times)) {
            return yield* new TargetError({
              target: "mock",
              part,
              detail: `scripted ${failure.kind} failure`,
              retry: failure.kind === "transient" ? "same" : "never"
            })
          }
          const program: CompiledPart = { kind: "binary", name: part, extension: "bin", bytes: contents(part, bytes) }
          return program
        })
        return Effect.acquireUseRelease(begin, work, (call, exit) =>
          Effect.gen(function*() {
            const ended = yield* Clock.currentTimeMillis
            yield* Ref.update(calls, (all) => [...all, { ...call, ended, outcome: outcomeOf(exit) }])
            yield* change(-1, -memory)
          }))
      }

      const target = Target.of({
        facts: { name: "mock", shapes },
        compile: Effect.fn("Target.compile")(({ name }) => compile(name)),
        link: Effect.fn("Target.link")(function*(layer, parts) {
          yield* Ref.update(links, (all) => [...all, { layer, parts: parts.map(({ name }) => name) }])
          return parts.flatMap((part) =>
            part.kind === "binary"
              ? [{ name: `${part.name}.${part.extension}`, content: { kind: "bytes" as const, bytes: part.bytes } }]
              : []
          )
        })
      })
      const record = MockTarget.of({
        calls: Ref.get(calls),
        links: Ref.get(links),
        running: (count) =>
          SubscriptionRef.changes(underWay).pipe(
            Stream.filter(({ running }) => running >= count),
            Stream.runHead,
            Effect.asVoid
          )
      })
      return Context.make(Target, target).pipe(Context.add(MockTarget, record))
    }))
}
