import { Console, Effect, Path, Terminal } from "effect"
import type { RunRequest } from "../plan/Request.ts"
import { open } from "../run/Runner.ts"
import { answer, requestOf, speeds } from "./Answer.ts"
import { converse } from "./Conversation.ts"
import { checkWritable, logitsWriter } from "./LogitsFile.ts"
import { NotBuilt } from "./NotBuilt.ts"
import { readIds } from "./PromptIds.ts"
import { remark } from "./Session.ts"

/** `llima run`: text to stdout as it comes, or one JSON object; speeds to stderr. */
export const generate = (request: RunRequest) =>
  Effect.gen(function*() {
    if (request.image !== undefined || request.lora !== undefined) {
      return yield* new NotBuilt({
        command: `llima run ${request.image === undefined ? "--lora" : "--image"}`,
        instead: "leave the option out; adapters and pictures are not built yet"
      })
    }
    const path = yield* Path.Path
    const terminal = yield* Terminal.Terminal
    const { input } = request
    if (request.logits !== undefined) yield* checkWritable(request.logits)
    const given = input.kind === "ids" ? yield* readIds(input.file) : []
    const runner = yield* open(path.resolve(request.out), { exact: request.exact })
    if (input.kind === "chat" && input.message === undefined) return yield* converse(runner, request)
    const ids = input.kind === "ids"
      ? given
      : input.kind === "text"
      ? yield* runner.encode(input.text)
      : yield* runner.chat([{ role: "user", content: input.message ?? "" }])
    const keep = request.logits === undefined
      ? () => Effect.void
      : yield* logitsWriter(request.logits, ids.length, runner.config.vocabulary)
    const show = request.json ? () => Effect.void : terminal.display
    const said = yield* answer(runner, requestOf(request, ids), show, keep)
    if (request.json) {
      const timings = { loadSeconds: runner.loadSeconds, ...said.timings }
      return yield* Console.log(
        JSON.stringify({ prompt_ids: ids, ids: said.ids, text: said.text, stop: said.stop, timings })
      )
    }
    yield* terminal.display("\n")
    yield* remark(speeds(runner, said))
  }).pipe(Effect.scoped)
