// Works 300 ms on each question without looking at its messages, as onnxruntime does, and leaves a mark behind.
import { workerData } from "node:worker_threads"
import { answerWith } from "../../src/verify/Answering.ts"

const marks = new Int32Array(workerData)

answerWith<string, string>(
  (question) => {
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 300)
    Atomics.add(marks, 0, 1)
    return Promise.resolve(question)
  },
  (detail) => detail,
  () => []
)
