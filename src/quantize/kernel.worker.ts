// A thread of the kernels: one task a message, one answer each. `workerData` is shared i32s, one a slot: 1 = stop at the next chunk.
import { parentPort, workerData } from "node:worker_threads"
import { Instance } from "./kernel/Instance.ts"
import type { Call } from "./kernel/Task.ts"
import { work } from "./kernel/Work.ts"

const instance = new Instance()
const stop: Int32Array = workerData
parentPort?.on("message", ({ slot, task }: Call) => {
  // oxlint-disable-next-line unicorn/require-post-message-target-origin -- a thread has no origin
  parentPort?.postMessage(work(instance, task, () => Atomics.load(stop, slot) === 1))
})
