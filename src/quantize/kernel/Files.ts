// Synchronous calls of node:fs in worker threads: Work.ts says why.
import { closeSync, openSync, readSync, writeSync } from "node:fs"
import { faultOf } from "../../tensor/Fault.ts"
import type { ByteRange } from "../../tensor/Tensor.ts"
import type { Answer } from "./Task.ts"

const isFull = (cause: unknown): boolean =>
  cause instanceof Error && "code" in cause && (cause.code === "ENOSPC" || cause.code === "EDQUOT")

/** Carries an answer out of the loops. */
export class Ended extends Error {
  readonly answer: Answer
  constructor(answer: Answer) {
    super(answer.kind)
    this.answer = answer
  }
}

const attempt = <A>(call: () => A, failed: (cause: unknown) => Answer): A => {
  try {
    return call()
  } catch (cause) {
    throw new Ended(failed(cause))
  }
}

/** Files of a task, opened for as long as it runs. */
export class Files {
  readonly #open: Array<number> = []

  source({ file, length, offset }: ByteRange) {
    const unreadable = (cause: unknown): Answer => ({ kind: "unreadable", file, detail: faultOf(cause) })
    const fd = attempt(() => openSync(file, "r"), unreadable)
    this.#open.push(fd)
    return (bytes: Uint8Array, address: number, from: number, count: number): void => {
      for (let done = 0; done < count;) {
        const got = attempt(
          () => readSync(fd, bytes, address + done, count - done, offset + from + done),
          unreadable
        )
        if (got === 0) throw new Ended({ kind: "truncated", file, offset, expected: length, found: from + done })
        done += got
      }
    }
  }

  destination(file: string) {
    const failed = (offset: number, count: number) => (cause: unknown): Answer =>
      isFull(cause)
        ? { kind: "full", file, offset, bytes: count }
        : { kind: "unwritable", file, detail: faultOf(cause) }
    const fd = attempt(() => openSync(file, "r+"), failed(0, 0))
    this.#open.push(fd)
    return (bytes: Uint8Array, address: number, count: number, at: number): void => {
      for (let done = 0; done < count;) {
        done += attempt(
          () => writeSync(fd, bytes, address + done, count - done, at + done),
          failed(at + done, count - done)
        )
      }
    }
  }

  close(): void {
    for (const fd of this.#open) closeSync(fd)
  }
}
