import { Clock, Effect, FileSystem, Path } from "effect"
import {
  type Answer,
  makeTokenizerProcess,
  type Question,
  type TokenizerFiles,
  usualLimits
} from "../devkit/TokenizerProcess.ts"
import { faultOf } from "../tensor/Fault.ts"
import { Damaged, PromptInvalid, RunError, TemplateFailed, TokenizerFailed, Unreadable } from "./RunError.ts"

/** One turn of a conversation. */
export interface Message {
  readonly role: "system" | "user" | "assistant" | "tool"
  readonly content: string
}

/** Text of an answer as its tokens come. */
export interface TextStream {
  /** What may be shown after this token; "" while a character is unfinished. */
  readonly push: (id: number) => Effect.Effect<string, RunError>
  /** What is left when no token follows. */
  readonly end: Effect.Effect<string, RunError>
}

/** Text ↔ tokens of a model. */
export interface Tokenizer {
  /** With what the model's post-processor adds (a begin token). */
  readonly encode: (text: string) => Effect.Effect<ReadonlyArray<number>, RunError>
  /** Special tokens are left out. */
  readonly decode: (ids: ReadonlyArray<number>) => Effect.Effect<string, RunError>
  /** Tokens of a conversation up to where the model's answer begins. */
  readonly chat: (messages: ReadonlyArray<Message>) => Effect.Effect<ReadonlyArray<number>, RunError>
  /** The text that `chat` makes tokens of. */
  readonly render: (messages: ReadonlyArray<Message>, addGenerationPrompt: boolean) => Effect.Effect<string, RunError>
  readonly stream: () => TextStream
}

const REPLACEMENT = "\u{FFFD}"

/** Texts of lists of tokens. */
type Decode = (
  lists: ReadonlyArray<ReadonlyArray<number>>
) => Effect.Effect<ReadonlyArray<string>, RunError>

// Decoding is a question to another process, which needs a core that the model has: asked for every token it took 8 % of SmolLM2's speed.
const PAUSE = 50

/**
 * Text of tokens one by one, as the eye reads: what the tokens since the last shown one add to it, asked for every 50 ms at most.
 * Decoders look back one token (a space goes at the beginning), so that one is decoded along.
 */
export const textStream = (decode: Decode, pause = PAUSE): TextStream => {
  let shown: ReadonlyArray<number> = []
  let waiting: ReadonlyArray<number> = []
  let asked = -Infinity
  const rest = Effect.suspend(() =>
    Effect.map(decode([[...shown, ...waiting], shown]), ([all = "", before = ""]) => all.slice(before.length))
  )
  return {
    push: (id) =>
      Effect.flatMap(Clock.currentTimeMillis, (now) => {
        waiting = [...waiting, id]
        if (now - asked < pause) return Effect.succeed("")
        asked = now
        return Effect.map(rest, (text) => {
          if (text === "" || text.endsWith(REPLACEMENT)) return ""
          shown = waiting
          waiting = []
          return text
        })
      }),
    end: Effect.suspend(() =>
      Effect.map(waiting.length === 0 ? Effect.succeed("") : rest, (text) => {
        shown = []
        waiting = []
        return text
      })
    )
  }
}

const detailOf = (answer: Answer): string => "detail" in answer ? answer.detail : `an answer of kind ${answer.kind}`

const isOf = <Kind extends Answer["kind"]>(
  answer: Answer,
  kind: Kind
): answer is Extract<Answer, { readonly kind: Kind }> => answer.kind === kind

/**
 * The tokenizer of a folder that has `tokenizer.json` and, for chats, `tokenizer_config.json` or `chat_template.jinja`. Its patterns
 * and templates run in a process of their own, within limits, until the scope closes.
 */
export const openTokenizer = Effect.fn("Tokenizer.open")(function*(folder: string, limits = usualLimits) {
  const fs = yield* FileSystem.FileSystem
  const path = yield* Path.Path
  const file = (name: keyof TokenizerFiles) => path.resolve(folder, name)
  const failed = (name: keyof TokenizerFiles, reason: RunError["reason"]) => new RunError({ path: file(name), reason })
  const present = (name: keyof TokenizerFiles) =>
    Effect.map(
      Effect.orElseSucceed(fs.exists(file(name)), () => false),
      (exists) => exists ? { path: file(name) } : undefined
    )

  yield* Effect.mapError(
    fs.access(file("tokenizer.json"), { readable: true }),
    (error) =>
      failed(
        "tokenizer.json",
        new Unreadable({ detail: faultOf(error), advice: "`llima-compile MODEL -o OUT --resume` makes it again" })
      )
  )
  const files: TokenizerFiles = {
    "tokenizer.json": { path: file("tokenizer.json") },
    "tokenizer_config.json": yield* present("tokenizer_config.json"),
    "chat_template.jinja": yield* present("chat_template.jinja")
  }
  const ask = yield* makeTokenizerProcess(limits)
  const opened = yield* ask({ kind: "open", files, limits })
  if (opened.kind !== "opened") {
    const { expected, file, found } = opened.kind === "damaged"
      ? opened
      : { file: "tokenizer.json" as const, expected: "one that can be opened", found: detailOf(opened) }
    return yield* failed(file, new Damaged({ where: "tokenizer", expected, found }))
  }

  const asked = <Kind extends Answer["kind"]>(
    question: Question,
    kind: Kind,
    otherwise: (answer: Answer) => RunError
  ): Effect.Effect<Extract<Answer, { readonly kind: Kind }>, RunError> =>
    Effect.filterOrFail(ask(question), (answer) => isOf(answer, kind), otherwise)

  const tokens = (text: string, special: boolean) =>
    Effect.map(
      asked({ kind: "encode", text, special }, "ids", (answer) =>
        failed(
          "tokenizer.json",
          answer.kind === "failed"
            ? new PromptInvalid({ expected: "text that can be tokenized", found: answer.detail })
            : new TokenizerFailed({ detail: detailOf(answer) })
        )),
      ({ ids }) => ids
    )
  const decode: Decode = (lists) =>
    Effect.map(
      asked({ kind: "decode", lists }, "texts", (answer) =>
        failed("tokenizer.json", new TokenizerFailed({ detail: detailOf(answer) }))),
      ({ texts }) =>
        texts
    )
  const render = (messages: ReadonlyArray<Message>, addGenerationPrompt: boolean) =>
    Effect.map(
      asked({ kind: "render", messages, addGenerationPrompt }, "texts", (answer) =>
        new RunError({ path: folder, reason: new TemplateFailed({ detail: detailOf(answer) }) })),
      ({ texts: [text = ""] }) =>
        text
    )
  const made: Tokenizer = {
    encode: (text) => tokens(text, true),
    decode: (ids) => Effect.map(decode([ids]), ([text = ""]) => text),
    render,
    chat: (messages) => Effect.flatMap(render(messages, true), (text) => tokens(text, false)),
    stream: () => textStream(decode)
  }
  return made
})
