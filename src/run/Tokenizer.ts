import { Effect, FileSystem, Path, Schema } from "effect"
import { faultOf, quoted } from "../tensor/Fault.ts"
import { decodeBytes, idsWithBytes } from "./ByteFallback.ts"
import { Damaged, PromptInvalid, RunError, TemplateFailed, Unreadable } from "./RunError.ts"

/** One turn of a conversation. */
export interface Message {
  readonly role: "system" | "user" | "assistant" | "tool"
  readonly content: string
}

/** Text of an answer as its tokens come. */
export interface TextStream {
  /** What may be shown after this token; "" while a character is unfinished. */
  readonly push: (id: number) => string
  /** What is left when no token follows. */
  readonly end: () => string
}

/** Text ↔ tokens of a model. */
export interface Tokenizer {
  /** With what the model's post-processor adds (a begin token). */
  readonly encode: (text: string) => Effect.Effect<ReadonlyArray<number>, RunError>
  /** Special tokens are left out. */
  readonly decode: (ids: ReadonlyArray<number>) => string
  /** Tokens of a conversation up to where the model's answer begins. */
  readonly chat: (messages: ReadonlyArray<Message>) => Effect.Effect<ReadonlyArray<number>, RunError>
  /** The text that `chat` makes tokens of. */
  readonly render: (messages: ReadonlyArray<Message>, addGenerationPrompt: boolean) => Effect.Effect<string, RunError>
  readonly stream: () => TextStream
}

/** A special token: its text, or an object that has it. */
const Special = Schema.optionalKey(
  Schema.NullOr(Schema.Union([Schema.String, Schema.Struct({ content: Schema.String })]))
)

const Config = Schema.Struct({
  chat_template: Schema.optionalKey(Schema.NullOr(Schema.Union([
    Schema.String,
    Schema.Array(Schema.Struct({ name: Schema.String, template: Schema.String }))
  ]))),
  bos_token: Special,
  eos_token: Special,
  pad_token: Special,
  unk_token: Special
})

const Model = Schema.StructWithRest(
  Schema.Struct({
    model: Schema.StructWithRest(
      Schema.Struct({
        type: Schema.optionalKey(Schema.Unknown),
        byte_fallback: Schema.optionalKey(Schema.Unknown),
        unk_id: Schema.optionalKey(Schema.NullOr(Schema.Int))
      }),
      [Schema.Record(Schema.String, Schema.Unknown)]
    ),
    decoder: Schema.optionalKey(Schema.Unknown)
  }),
  [Schema.Record(Schema.String, Schema.Unknown)]
)

const JsonObject = Schema.Record(Schema.String, Schema.Unknown)

const REPLACEMENT = "\u{FFFD}"

const textOf = (cause: unknown): string => cause instanceof Error ? cause.message : String(cause)

/**
 * Text of tokens one by one: what the tokens since the last shown one add to it. Decoders look back one token (a space goes at
 * the beginning), so that one is decoded along.
 */
export const textStream = (decode: (ids: ReadonlyArray<number>) => string): TextStream => {
  let shown: ReadonlyArray<number> = []
  let waiting: ReadonlyArray<number> = []
  const rest = (): string => decode([...shown, ...waiting]).slice(decode(shown).length)
  return {
    push: (id) => {
      waiting = [...waiting, id]
      const text = rest()
      if (text === "" || text.endsWith(REPLACEMENT)) return ""
      shown = waiting
      waiting = []
      return text
    },
    end: () => {
      const text = waiting.length === 0 ? "" : rest()
      shown = []
      waiting = []
      return text
    }
  }
}

/** The tokenizer of a folder that has `tokenizer.json` and, for chats, `tokenizer_config.json` or `chat_template.jinja`. */
export const openTokenizer = Effect.fn("Tokenizer.open")(function*(folder: string) {
  const fs = yield* FileSystem.FileSystem
  const path = yield* Path.Path
  const file = (name: string) => path.join(folder, name)
  const read = (name: string) =>
    fs.readFileString(file(name)).pipe(
      Effect.mapError((error) =>
        new RunError({
          path: file(name),
          reason: new Unreadable({
            detail: faultOf(error),
            advice: "`llima-compile MODEL -o OUT --resume` makes it again"
          })
        })
      )
    )
  const parsed = <A>(name: string, schema: Schema.Codec<A, unknown>, text: string) =>
    Schema.decodeEffect(Schema.fromJsonString(schema))(text).pipe(
      Effect.mapError((error) =>
        new RunError({
          path: file(name),
          reason: new Damaged({ where: "JSON", expected: "an object", found: quoted(error.message) })
        })
      )
    )
  const present = (name: string) => Effect.orElseSucceed(fs.exists(file(name)), () => false)

  const model = yield* parsed("tokenizer.json", Model, yield* read("tokenizer.json"))
  const settings = (yield* present("tokenizer_config.json")) ? yield* read("tokenizer_config.json") : "{}"
  const raw = yield* parsed("tokenizer_config.json", JsonObject, settings)
  const config = yield* parsed("tokenizer_config.json", Config, settings)
  const alone = (yield* present("chat_template.jinja")) ? yield* read("chat_template.jinja") : undefined

  const library = yield* Effect.tryPromise({
    try: async () => {
      const [{ Tokenizer }, { Template }] = await Promise.all([
        import("@huggingface/tokenizers"),
        import("@huggingface/jinja")
      ])
      return { tokenizer: new Tokenizer(model, raw), Template }
    },
    catch: (cause) =>
      new RunError({
        path: file("tokenizer.json"),
        reason: new Damaged({
          where: "tokenizer",
          expected: "a kind that @huggingface/tokenizers reads",
          found: textOf(cause)
        })
      })
  })
  const { Template, tokenizer } = library

  const source = (): string | undefined => {
    const own = config.chat_template
    if (alone !== undefined) return alone
    if (typeof own === "string") return own
    return own?.find(({ name }) => name === "default")?.template ?? own?.[0]?.template
  }
  const specials = Object.fromEntries(
    (["bos_token", "eos_token", "pad_token", "unk_token"] as const).flatMap((name) => {
      const special = config[name]
      if (special === undefined || special === null) return []
      return [[name, typeof special === "string" ? special : special.content] as const]
    })
  )

  const bytesInUnigram = model.model.type === "Unigram" && model.model.byte_fallback === true
  const tokens = (text: string, special: boolean) =>
    Effect.try({
      try: () =>
        bytesInUnigram
          ? idsWithBytes(tokenizer.tokenize(text, { add_special_tokens: special }), tokenizer, model.model.unk_id ?? 0)
          : tokenizer.encode(text, { add_special_tokens: special }).ids,
      catch: (cause) =>
        new RunError({
          path: file("tokenizer.json"),
          reason: new PromptInvalid({ expected: "text that can be tokenized", found: textOf(cause) })
        })
    })
  const plain = (ids: ReadonlyArray<number>): string =>
    ids.length === 0
      ? ""
      : tokenizer.decode([...ids], { skip_special_tokens: true, clean_up_tokenization_spaces: false })
  const fallsBack = JSON.stringify(model.decoder ?? null).includes("\"ByteFallback\"")
  const decode = (ids: ReadonlyArray<number>): string => fallsBack ? decodeBytes(ids, tokenizer, plain) : plain(ids)
  const render = (messages: ReadonlyArray<Message>, addGenerationPrompt: boolean) =>
    Effect.try({
      try: () => {
        const template = source()
        if (template === undefined) throw new Error("the model has none")
        return new Template(template).render({ ...specials, messages, add_generation_prompt: addGenerationPrompt })
      },
      catch: (cause) => new RunError({ path: folder, reason: new TemplateFailed({ detail: textOf(cause) }) })
    })
  const made: Tokenizer = {
    encode: (text) => tokens(text, true),
    decode,
    render,
    chat: (messages) => Effect.flatMap(render(messages, true), (text) => tokens(text, false)),
    stream: () => textStream(decode)
  }
  return made
})
