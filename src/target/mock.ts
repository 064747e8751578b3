import { Duration, Effect, Layer, Ref } from "effect"
import { type CompiledPart, Target, TargetError } from "./Target.ts"

/** What the mock hardware does with a part. */
export interface MockBehaviour {
  /** time that one compilation takes; passes on the (test) clock */
  readonly delay?: Duration.Input
  /** "transient": fails this many times with `retry: "same"`, then succeeds; "permanent": always fails */
  readonly failure?: { readonly kind: "transient"; readonly times: number } | { readonly kind: "permanent" }
  /** bytes that the program of the part has; its name repeated */
  readonly bytes?: number
}

/** One call that the mock target received. */
export interface MockCall {
  readonly part: string
  readonly outcome: "succeeded" | "failed" | "interrupted"
  /** compilations that ran at this moment, this one included */
  readonly running: number
}

/** What the mock target recorded. */
export interface MockRecord {
  readonly calls: Ref.Ref<ReadonlyArray<MockCall>>
}

const contents = (name: string, length: number): Uint8Array => {
  const bytes = new Uint8Array(length)
  const text = new TextEncoder().encode(name)
  for (let i = 0; i < length; i++) bytes[i] = text[i % text.length] ?? 0
  return bytes
}

/** A target without hardware: scripted durations, failures and sizes; every call is recorded. */
export const mock = (behaviour: (part: string) => MockBehaviour, record: MockRecord): Layer.Layer<Target> =>
  Layer.sync(Target, () => {
    const attempts = new Map<string, number>()
    let running = 0
    const note = (part: string, outcome: MockCall["outcome"], at: number) =>
      Ref.update(record.calls, (calls) => [...calls, { part, outcome, running: at }])
    return Target.of({
      facts: { name: "mock", shapes: "symbolic" },
      compile: Effect.fn("Target.compile")(function*({ name }) {
        const { bytes = 64, delay = 0, failure } = behaviour(name)
        const attempt = (attempts.get(name) ?? 0) + 1
        attempts.set(name, attempt)
        const at = ++running
        yield* Effect.sleep(delay).pipe(
          Effect.onInterrupt(() => note(name, "interrupted", at)),
          Effect.ensuring(Effect.sync(() => running--))
        )
        if (failure?.kind === "permanent" || (failure?.kind === "transient" && attempt <= failure.times)) {
          yield* note(name, "failed", at)
          const retry = failure.kind === "transient" ? "same" : "never"
          return yield* new TargetError({
            target: "mock",
            part: name,
            detail: `scripted ${failure.kind} failure`,
            retry
          })
        }
        yield* note(name, "succeeded", at)
        const part: CompiledPart = { kind: "binary", name, extension: "bin", bytes: contents(name, bytes) }
        return part
      }),
      link: (_layer, parts) =>
        Effect.succeed(parts.flatMap((part) =>
          part.kind === "binary"
            ? [{ name: `${part.name}.${part.extension}`, content: { kind: "bytes" as const, bytes: part.bytes } }]
            : []
        ))
    })
  })

/** The mock target as the command line offers it: every part succeeds at once. */
export const mockLayer: Layer.Layer<Target> = Layer.unwrap(
  Effect.map(Ref.make<ReadonlyArray<MockCall>>([]), (calls) => mock(() => ({}), { calls }))
)
