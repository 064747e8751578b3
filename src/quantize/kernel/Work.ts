// Runs in a worker thread, with node:fs and synchronous calls: readSync into reused WebAssembly memory, kernel, writeSync at an
// offset known beforehand is what won (host-measurements.md §4: 4-5 GB/s with two threads; streams and fresh buffers 10 times less).
import { byteLength } from "../../tensor/DType.ts"
import { coded } from "./coded/Work.ts"
import { Ended, Files } from "./Files.ts"
import type { Instance } from "./Instance.ts"
import { look, nothing } from "./Look.ts"
import { type Answer, CHUNK, type Seen, type Task } from "./Task.ts"

type Quantise = Extract<Task, { readonly kind: "blocks" | "rows" }>

const quantise = (instance: Instance, files: Files, task: Quantise, next: () => void): Seen => {
  const { columns, destination, dtype, source } = task
  const width = byteLength(dtype, 1)
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
      const width = byteLength(dtype, 1)
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
      : task.kind === "coded"
      ? coded(instance, files, task, next)
      : pass(instance, files, task, next)
    return { kind: "done", seen }
  } catch (cause) {
    if (cause instanceof Ended) return cause.answer
    throw cause
  } finally {
    files.close()
  }
}
