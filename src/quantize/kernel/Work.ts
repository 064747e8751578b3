// Runs in a worker thread, with node:fs and synchronous calls: readSync into reused WebAssembly memory, kernel, writeSync at an
// offset known beforehand is what won (host-measurements.md §4: 4-5 GB/s with two threads; streams and fresh buffers 10 times less).
import { closeSync, openSync, readSync, writeSync } from "node:fs"
import type { ByteRange } from "../../tensor/Tensor.ts"
import type { Instance } from "./Instance.ts"
import type { Answer, KernelDType, Seen, Task } from "./Task.ts"

/** Bytes read at once. The int4 kernel ran a fifth faster on 1 MiB than on 8 MiB, and less memory is touched for the first time. */
const CHUNK = 1 << 20

/** Bytes of a number. */
const widths: Readonly<Record<KernelDType, number>> = { bf16: 2, f16: 2, f32: 4 }

const nothing: Seen = {
  nan: -1,
  infinity: -1,
  largest: 0,
  underflows: 0,
  firstUnderflow: -1,
  overflows: 0,
  firstOverflow: -1
}

/** What of a failed call is worth saying. */
const detailOf = (cause: unknown): string => cause instanceof Error ? cause.message : String(cause)

const isFull = (cause: unknown): boolean =>
  cause instanceof Error && "code" in cause && (cause.code === "ENOSPC" || cause.code === "EDQUOT")

/** Carries an answer out of the loops. */
class Ended extends Error {
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

const first = (a: number, b: number, base: number): number => a >= 0 ? a : b < 0 ? -1 : b + base

/** Files of a task, opened for as long as it runs. */
class Files {
  readonly #open: Array<number> = []

  source({ file, length, offset }: ByteRange) {
    const unreadable = (cause: unknown): Answer => ({ kind: "unreadable", file, detail: detailOf(cause) })
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
        : { kind: "unwritable", file, detail: detailOf(cause) }
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

/** Runs a kernel and adds what it saw; `base` and `block` are the indices of its first number and block in the piece. */
const look = (instance: Instance, so: Seen, base: number, block: number, kernel: () => void): Seen => {
  instance.exports.reset()
  kernel()
  const now = instance.seen
  return {
    nan: first(so.nan, now.nan, base),
    infinity: first(so.infinity, now.infinity, base),
    largest: Math.max(so.largest, now.largest),
    underflows: so.underflows + now.underflows,
    firstUnderflow: first(so.firstUnderflow, now.firstUnderflow, block),
    overflows: so.overflows + now.overflows,
    firstOverflow: first(so.firstOverflow, now.firstOverflow, block)
  }
}

type Quantise = Extract<Task, { readonly kind: "blocks" | "rows" }>

const quantise = (instance: Instance, files: Files, task: Quantise, next: () => void): Seen => {
  const { columns, destination, dtype, source } = task
  const width = widths[dtype]
  const blocks = task.kind === "rows" ? 1 : Math.ceil(columns / 32)
  const rowBytes = columns * width
  const codeBytes = task.kind === "rows" ? columns : blocks * 4 * task.bits
  const rows = source.length / rowBytes
  const most = Math.max(1, Math.floor(CHUNK / Math.max(rowBytes, codeBytes)))
  const [from = 0, codes = 0, scales = 0] = instance.place([most * rowBytes, most * codeBytes, most * blocks * 2])
  const kernel = instance.exports[`${task.kind === "rows" ? "rows" : task.bits === 4 ? "int4" : "int8"}_${dtype}`]
  const read = files.source(source)
  const write = files.destination(destination.file)
  let seen = nothing
  for (let row = 0; row < rows; row += most) {
    next()
    const count = Math.min(most, rows - row)
    read(instance.bytes, from, row * rowBytes, count * rowBytes)
    seen = look(instance, seen, row * columns, row * blocks, () => kernel(from, count, columns, codes, scales))
    write(instance.bytes, codes, count * codeBytes, destination.codes + row * codeBytes)
    write(instance.bytes, scales, count * blocks * 2, destination.scales + row * blocks * 2)
  }
  return seen
}

const pass = (
  instance: Instance,
  files: Files,
  task: Extract<Task, { readonly kind: "copy" | "scan" }>,
  next: () => void
): Seen => {
  const { dtype, source } = task
  const [at = 0] = instance.place([CHUNK])
  const read = files.source(source)
  const write = task.kind === "copy" ? files.destination(task.destination.file) : undefined
  const offset = task.kind === "copy" ? task.destination.offset : 0
  let seen = nothing
  for (let done = 0; done < source.length; done += CHUNK) {
    next()
    const count = Math.min(CHUNK, source.length - done)
    read(instance.bytes, at, done, count)
    if (dtype !== undefined) {
      const width = widths[dtype]
      const scan = instance.exports[`scan_${dtype}`]
      seen = look(instance, seen, done / width, 0, () => scan(at, count / width))
    }
    write?.(instance.bytes, at, count, offset + done)
  }
  return seen
}

const fill = (
  instance: Instance,
  files: Files,
  { byte, destination, length }: Extract<Task, { readonly kind: "fill" }>,
  next: () => void
): Seen => {
  const [at = 0] = instance.place([CHUNK])
  instance.bytes.fill(byte, at, at + Math.min(CHUNK, length))
  const write = files.destination(destination.file)
  for (let done = 0; done < length; done += CHUNK) {
    next()
    write(instance.bytes, at, Math.min(CHUNK, length - done), destination.offset + done)
  }
  return nothing
}

/** Does a task, one chunk after the other; before each, `isStopped` is asked. */
export const work = (instance: Instance, task: Task, isStopped: () => boolean): Answer => {
  const files = new Files()
  const next = (): void => {
    if (isStopped()) throw new Ended({ kind: "stopped" })
  }
  try {
    const seen = task.kind === "fill"
      ? fill(instance, files, task, next)
      : task.kind === "blocks" || task.kind === "rows"
      ? quantise(instance, files, task, next)
      : pass(instance, files, task, next)
    return { kind: "done", seen }
  } catch (cause) {
    if (cause instanceof Ended) return cause.answer
    throw cause
  } finally {
    files.close()
  }
}
