import { Effect, type Scope } from "effect"
import { type ChildProcess, fork } from "node:child_process"

/** A file by its absolute path, or what would be in it. */
export type TextFile = { readonly path: string } | { readonly text: string }

/** What a tokenizer is made of; the template of `tokenizer_config.json` counts where there is no `chat_template.jinja`. */
export interface TokenizerFiles {
  readonly "tokenizer.json": TextFile
  readonly "tokenizer_config.json": TextFile | undefined
  readonly "chat_template.jinja": TextFile | undefined
}

/** How much a tokenizer may take. */
export interface Limits {
  /** for reading the files */
  readonly openingSeconds: number
  /** for one answer */
  readonly seconds: number
  /** of JavaScript objects; the process may have twice as much for a moment */
  readonly megabytes: number
  /** of a text, tokens of a list */
  readonly characters: number
}

/** A vocabulary of 262,144 tokens and 514,000 merges takes 3 s and 400 MB to open, 1 MB of text 1.5 s to read. */
export const usualLimits: Limits = { openingSeconds: 60, seconds: 5, megabytes: 768, characters: 2 ** 23 }

/** What a tokenizer is asked. */
export type Question =
  | { readonly kind: "open"; readonly files: TokenizerFiles; readonly limits: Limits }
  /** whether the chat template can be read */
  | { readonly kind: "parse" }
  | { readonly kind: "render"; readonly messages: ReadonlyArray<object>; readonly addGenerationPrompt: boolean }
  | { readonly kind: "encode"; readonly text: string; readonly special: boolean }
  | { readonly kind: "decode"; readonly lists: ReadonlyArray<ReadonlyArray<number>> }

/** Why there is no answer: what the library says, or the limit that was passed. */
export interface Failed {
  readonly kind: "failed" | "limit"
  readonly detail: string
}

/** What a tokenizer answers. */
export type Answer =
  | { readonly kind: "opened" }
  | { readonly kind: "damaged"; readonly file: keyof TokenizerFiles; readonly expected: string; readonly found: string }
  | { readonly kind: "texts"; readonly texts: ReadonlyArray<string> }
  | { readonly kind: "ids"; readonly ids: ReadonlyArray<number> }
  | Failed

/** Asks the process; questions are answered in their order. */
export type Ask = (question: Question) => Effect.Effect<Answer>

// Beside this module, or beside the chunk that a bundle puts it in.
const entry = new URL(`./tokenizer.worker.${import.meta.url.endsWith(".ts") ? "ts" : "js"}`, import.meta.url)

// V8 aborts a process whose heap is full.
const FULL = new Set(["SIGABRT", "SIGTRAP", "SIGILL"])

/**
 * A process of its own that tokenizes and renders, started by the first question and killed with the scope. Patterns and templates
 * come with a checkpoint, and both can be written to run for years or to fill the memory: a thread would not do, since V8 aborts
 * the whole process when a single allocation passes a thread's limit (`range(1000000000)`; Node 24).
 */
export const makeTokenizerProcess = ({ megabytes }: Limits): Effect.Effect<Ask, never, Scope.Scope> =>
  Effect.gen(function*() {
    const waiting: Array<(answer: Answer) => void> = []
    let child: ChildProcess | undefined
    let lost: string | undefined
    const lose = (detail: string): void => {
      lost ??= detail
      for (const settle of waiting.splice(0)) settle({ kind: "limit", detail: lost })
    }
    const start = (): ChildProcess => {
      const made = fork(entry, {
        execArgv: [`--max-old-space-size=${megabytes}`],
        // without the parent's process group: Ctrl-C is for the parent alone, which then ends this one
        detached: true,
        serialization: "advanced",
        stdio: ["ignore", "ignore", "ignore", "ipc"]
      })
      made.on("message", (answer: Answer) => waiting.shift()?.(answer))
      made.on("error", (cause) => lose(`its process cannot run: ${cause.message}`))
      made.on("exit", (code, signal) =>
        lose(
          signal !== null && FULL.has(signal)
            ? `took more than ${megabytes} MB of memory`
            : `its process ended with ${signal ?? `code ${code}`}`
        ))
      return made
    }
    yield* Effect.addFinalizer(() => Effect.sync(() => child?.kill("SIGKILL")))
    return (question) =>
      Effect.callback<Answer>((resume) => {
        if (lost !== undefined) return resume(Effect.succeed({ kind: "limit", detail: lost }))
        child ??= start()
        waiting.push((answer) => resume(Effect.succeed(answer)))
        // a process that is gone says so by its event
        child.send(question, () => undefined)
      })
  })
