// The other end of Thread.ts, in the worker. Promises, as onnxruntime has them.
import { parentPort, type Transferable } from "node:worker_threads"
import { textOf } from "./Ort.ts"
import type { Numbered } from "./Thread.ts"

/** The message after which a thread takes no more questions, works off those that it has, and ends by itself. */
export const LAST = "last"

/** Answers questions in their order; `failed` makes an answer of what nobody foresaw, `buffersOf` names what leaves with an answer. */
export const answerWith = <Question, Answer>(
  answer: (question: Question) => Promise<Answer>,
  failed: (detail: string) => Answer,
  buffersOf: (given: Answer) => ReadonlyArray<Transferable>
): void => {
  parentPort?.on("message", (message: Numbered<Question> | typeof LAST) => {
    if (message === LAST) return parentPort?.close()
    void answer(message.body).catch((cause: unknown) => failed(textOf(cause))).then((given) =>
      parentPort?.postMessage({ id: message.id, body: given }, buffersOf(given))
    )
  })
}
