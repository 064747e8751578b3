import { assert, describe, it } from "@effect/vitest"
import { Effect, Logger, Queue, Stream, Terminal } from "effect"
import { converse } from "../../src/cli/Conversation.ts"
import { Screen } from "../../src/cli/Screen.ts"
import type { RuntimeConfig } from "../../src/devkit/RuntimeConfig.ts"
import type { RunRequest } from "../../src/plan/Request.ts"
import { PromptTooLong, RunError } from "../../src/run/RunError.ts"
import type { Runner } from "../../src/run/Runner.ts"
import type { Message } from "../../src/run/Tokenizer.ts"

const limit = 10

const config: RuntimeConfig = {
  format: 1,
  family: "fake",
  layers: [],
  hidden: 1,
  vocabulary: 300,
  heads: 1,
  keyValueHeads: 1,
  headSize: 1,
  maxNumTokens: limit,
  groupSize: 1,
  futureTokenMaskSize: 1,
  returnLogits: false,
  ropes: [],
  eosTokenIds: [],
  bosTokenId: null,
  embeddings: { dtype: "f32", file: "", scales: null, multiplier: 1 }
}

const request: RunRequest = {
  out: "out",
  input: { kind: "chat", message: undefined },
  image: undefined,
  lora: undefined,
  maxNewTokens: 1,
  ignoreEos: false,
  temperature: 0,
  topK: 0,
  topP: 1,
  seed: 0,
  logits: undefined,
  json: false,
  exact: false
}

/** A conversation of these lines: a token is a letter, and every answer is "!". */
const talk = Effect.fnUntraced(function*(asks: boolean, ...lines: ReadonlyArray<string>) {
  const asked: Array<string> = []
  const drawn: Array<string> = []
  const printed: Array<string> = []
  const logged: Array<string> = []
  const runner: Runner = {
    config,
    loadSeconds: 0,
    encode: () => Effect.succeed([]),
    chat: (messages: ReadonlyArray<Message>) =>
      Effect.sync(() => Array.from(messages.map(({ content }) => content).join(""), (letter) => letter.charCodeAt(0))),
    decode: () => Effect.succeed(""),
    text: () => ({ push: (id) => Effect.succeed(String.fromCharCode(id)), end: Effect.succeed("") }),
    generate: ({ ids }) => {
      if (ids.length >= limit) {
        return Stream.fail(new RunError({ path: "out", reason: new PromptTooLong({ tokens: ids.length, limit }) }))
      }
      asked.push(String.fromCharCode(...ids))
      return Stream.make({ kind: "token", id: 33 })
    }
  }
  const input = [...lines]
  const terminal = Terminal.make({
    columns: Effect.succeed(80),
    rows: Effect.succeed(24),
    size: Effect.die("unused"),
    readInput: Effect.flatMap(Queue.make<Terminal.UserInput>(), () => Effect.die("unused")),
    readLine: Effect.suspend(() => {
      const line = input.shift()
      return line === undefined ? Effect.fail(new Terminal.QuitError({})) : Effect.succeed(line)
    }),
    display: (text) => Effect.sync(() => void printed.push(text))
  })
  const exit = yield* converse(runner, request).pipe(
    Effect.provideService(Terminal.Terminal, terminal),
    Effect.provideService(Screen, {
      live: false,
      asks,
      columns: () => 80,
      rows: () => 24,
      write: (text) => void drawn.push(text),
      stopping: () => false,
      peakMemory: () => undefined
    }),
    Effect.provide(Logger.layer([Logger.make(({ message }) => void logged.push(String(message)))])),
    Effect.exit
  )
  return { asked, drawn: drawn.join(""), printed: printed.join(""), logged, done: exit._tag === "Success" }
})

describe("converse", () => {
  it.effect("prompts a person on the screen only, and ends its line", () =>
    Effect.gen(function*() {
      const { asked, drawn, printed } = yield* talk(true, "a", "b")
      assert.deepStrictEqual(asked, ["a", "a!b"])
      assert.deepStrictEqual({ drawn, printed }, { drawn: "> > > \n", printed: "!\n!\n" })
    }))

  it.effect("prompts nobody where the input is no terminal", () =>
    Effect.gen(function*() {
      const { drawn, printed } = yield* talk(false, "a")
      assert.deepStrictEqual({ drawn, printed }, { drawn: "", printed: "!\n" })
    }))

  it.effect("sends no empty line", () =>
    Effect.gen(function*() {
      assert.deepStrictEqual((yield* talk(false, "", "  ", "a")).asked, ["a"])
    }))

  it.effect("forgets the oldest turns when the context is full, and says so", () =>
    Effect.gen(function*() {
      const { asked, done, logged } = yield* talk(false, "aaa", "bbb", "ccc")
      assert.deepStrictEqual(asked, ["aaa", "aaa!bbb", "bbb!ccc"])
      assert.deepStrictEqual(logged, [
        "the context of 10 tokens is full (--max_num_tokens): earlier messages are forgotten"
      ])
      assert.isTrue(done)
    }))

  it.effect("goes on with a person whose message is too long, and ends for a script", () =>
    Effect.gen(function*() {
      const long = "x".repeat(limit)
      const person = yield* talk(true, "a", long, "b")
      assert.deepStrictEqual(person.asked, ["a", "a!b"])
      assert.lengthOf(person.logged, 1)
      assert.include(person.logged[0], "the prompt has 10 tokens")
      assert.isFalse((yield* talk(false, "a", long, "b")).done)
    }))
})
