import { Effect, Terminal } from "effect"
import type { RunRequest } from "../plan/Request.ts"
import type { Runner } from "../run/Runner.ts"
import type { Message } from "../run/Tokenizer.ts"
import { answer, requestOf } from "./Answer.ts"
import { Screen } from "./Screen.ts"
import { remark } from "./Session.ts"

/** The latest turns that leave room for an answer, as tokens; a message too long by itself stays, and is refused by the generator. */
const fitted = Effect.fnUntraced(function*(runner: Runner, messages: ReadonlyArray<Message>) {
  let kept = messages
  let ids = yield* runner.chat(kept)
  while (ids.length >= runner.config.maxNumTokens && kept.length > 1) {
    kept = kept.slice(2)
    ids = yield* runner.chat(kept)
  }
  return { kept, ids }
})

/** A conversation until the end of the input (Ctrl-D): a line is a message; what the model says goes to stdout, all else to stderr. */
export const converse = Effect.fnUntraced(function*(runner: Runner, request: RunRequest) {
  const terminal = yield* Terminal.Terminal
  const { asks, write } = yield* Screen
  const limit = runner.config.maxNumTokens
  if (asks) yield* remark("Type a message; Ctrl-D ends the conversation.")
  let messages: ReadonlyArray<Message> = []
  while (true) {
    if (asks) write("> ")
    const line = yield* Effect.option(terminal.readLine)
    if (line._tag === "None") break
    if (line.value.trim() === "") continue
    const { ids, kept } = yield* fitted(runner, [...messages, { role: "user", content: line.value }])
    if (kept.length <= messages.length && ids.length < limit) {
      yield* Effect.logWarning(
        `the context of ${limit} tokens is full (--max_num_tokens): earlier messages are forgotten`
      )
    }
    const said = yield* answer(runner, requestOf(request, ids), terminal.display, () => Effect.void).pipe(
      // Of a person's message that is too long the conversation does not end.
      Effect.catchIf(
        (error) => asks && error._tag === "RunError" && error.reason._tag === "PromptTooLong",
        (error) => Effect.as(Effect.logError(error.message), undefined)
      )
    )
    if (said === undefined) continue
    yield* terminal.display("\n")
    if (said.stop === "context") {
      yield* Effect.logWarning(`the context of ${limit} tokens is full (--max_num_tokens): the answer was cut`)
    }
    messages = [...kept, { role: "assistant", content: said.text }]
  }
  if (asks) write("\n")
})
