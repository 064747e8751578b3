import type { Form } from "../../../tensor/Coded.ts"
import type { ByteRange } from "../../../tensor/Tensor.ts"
import type { Files } from "../Files.ts"
import type { Instance } from "../Instance.ts"
import { look, nothing } from "../Look.ts"
import { CHUNK, type CodedPlace, type Seen, type Task } from "../Task.ts"
import { familyOf } from "./registry.ts"
import type { Addresses, CodeRows, FloatRows } from "./Rows.ts"
import { type Sink, sinkOf } from "./Sink.ts"

type CodedTask = Extract<Task, { readonly kind: "coded" }>

/** Bytes of a row of each piece of a form. */
const rowBytes = (form: Form, blocks: number) => ({
  codes: blocks * form.block * form.bits / 8,
  scales: blocks * (form.scales === "f16" ? 2 : 4),
  zeros: form.zeros === "stored" ? Math.ceil(blocks * form.bits / 8) : 0,
  minimum: form.minimum ? blocks * 4 : 0
})

const kinds = ["codes", "scales", "zeros", "minimum"] as const

/** What `survey` and `expand` are told of `count` rows of codes at these addresses. */
const description = (form: Form, columns: number, blocks: number, count: number, at: Addresses) =>
  [
    count,
    columns,
    blocks,
    form.block,
    form.bits,
    at.codes,
    form.zeros === "stored" ? at.zeros : 0,
    form.zeros === "middle" ? 2 ** (form.bits - 1) : 0,
    at.scales,
    form.scales === "f16" ? 1 : 0,
    form.minimum ? at.minimum : 0
  ] as const

/** A chunk loop over rows `first` … of a task: what it keeps between them. */
interface Loop {
  readonly instance: Instance
  readonly files: Files
  readonly task: CodedTask
  readonly columns: number
  readonly most: number
  readonly next: () => void
}

const chunks = (
  { columns, instance, most, next, task }: Loop,
  prepare: (row: number, count: number) => void,
  kernel: (count: number) => void,
  write: (row: number, count: number) => void,
  blocks: number
): Seen => {
  let seen = nothing
  for (let done = 0; done < task.rows; done += most) {
    next()
    const count = Math.min(most, task.rows - done), row = task.first + done
    prepare(row, count)
    seen = look(instance, seen, done * columns, done * blocks, () => kernel(count))
    write(row, count)
  }
  return seen
}

/** Codes as they come. */
const recode = (loop: Loop, rows: CodeRows, to: CodedPlace): Seen => {
  const { columns, files, instance, most, task } = loop
  const { form, high, low } = rows
  const blocks = Math.ceil(columns / form.block)
  const bytes = rowBytes(form, blocks)
  const addresses = instance.place([...kinds.map((kind) => most * bytes[kind]), ...rows.sizes])
  const [codes = 0, scales = 0, zeros = 0, minimum = 0, ...buffers] = addresses
  const at = { codes, scales, zeros, minimum }
  const write = files.destination(to.file)
  if (task.first === 0 && rows.order !== undefined) {
    const order = rows.order(buffers)
    write(new Uint8Array(order.buffer, order.byteOffset, order.byteLength), 0, order.byteLength, to.order ?? 0)
  }
  return chunks(
    loop,
    (row, count) => rows.read(buffers, row, count, at),
    (count) => instance.exports.survey(...description(form, columns, blocks, count, at), low, high),
    (row, count) => {
      for (const kind of kinds) {
        if (bytes[kind] > 0) write(instance.bytes, at[kind], count * bytes[kind], (to[kind] ?? 0) + row * bytes[kind])
      }
    },
    0
  )
}

/** Stored columns of f32 rows at an address back to where the model has them. */
const restore = (instance: Instance, order: Int32Array, count: number, at: number): void => {
  const columns = order.length
  const numbers = new Float32Array(instance.exports.memory.buffer, at, count * columns)
  const stored = new Float32Array(columns)
  for (let from = 0; from < count * columns; from += columns) {
    stored.set(numbers.subarray(from, from + columns))
    for (let column = 0; column < columns; column++) numbers[from + (order[column] ?? 0)] = stored[column] ?? 0
  }
}

/** Something that puts f32 `[count × columns]` to an address: the reader of rows, or what makes numbers of its codes. */
const asFloats = ({ columns, instance, most }: Loop, rows: CodeRows | FloatRows): FloatRows => {
  if (rows.kind === "floats") return rows
  const { form } = rows
  const blocks = Math.ceil(columns / form.block)
  const bytes = rowBytes(form, blocks)
  return {
    kind: "floats",
    sizes: [...kinds.map((kind) => most * bytes[kind]), ...rows.sizes],
    read: ([codes = 0, scales = 0, zeros = 0, minimum = 0, ...buffers], first, count, to) => {
      const at = { codes, scales, zeros, minimum }
      rows.read(buffers, first, count, at)
      instance.exports.expand(...description(form, columns, blocks, count, at), to)
      if (rows.order !== undefined) restore(instance, rows.order(buffers), count, to)
    }
  }
}

/** Numbers, and what becomes of them. */
const numbers = (loop: Loop, rows: FloatRows, sink: Sink): Seen => {
  const { columns, instance, most, task } = loop
  const addend = task.source.coded?.addend ?? 0
  const [values = 0, ...rest] = instance.place([most * columns * 4, ...rows.sizes, ...sink.sizes])
  const buffers = rest.slice(0, rows.sizes.length), own = rest.slice(rows.sizes.length)
  return chunks(
    loop,
    (row, count) => {
      rows.read(buffers, row, count, values)
      // adding 0 would take the sign of -0
      if (addend !== 0) instance.exports.add(values, count * columns, addend)
    },
    (count) => sink.kernel(own, values, count),
    (row, count) => sink.write(own, row, count),
    sink.blocks
  )
}

/** Does a task on a coded tensor: rows are read by the format's family; the rest is the same for all. */
export const coded = (instance: Instance, files: Files, task: CodedTask, next: () => void): Seen => {
  const { outcome, source } = task
  const { coded, shape } = source
  if (coded === undefined) throw new Error(`${source.name} is not coded`)
  const columns = shape.at(-1) ?? 1
  const width = outcome.kind === "recode" ? 1 : 4
  const most = Math.max(1, Math.floor(CHUNK / (columns * width)))
  const loop: Loop = { instance, files, task, columns, most, next }
  const range = (name: string): ByteRange => {
    const piece = coded.pieces[name]
    if (piece === undefined) throw new Error(`${source.name} has no piece ${name}`)
    return piece.range
  }
  const rows = familyOf(source).open({
    tensor: source,
    coded,
    rows: shape.reduce((a, b) => a * b, 1) / columns,
    columns,
    most,
    instance,
    piece: (name) => {
      const read = files.source(range(name))
      return (address, from, count) => read(instance.bytes, address, from, count)
    }
  })
  if (outcome.kind !== "recode") return numbers(loop, asFloats(loop, rows), sinkOf(loop, outcome))
  if (rows.kind !== "codes") throw new Error(`${source.name} has no codes`)
  return recode(loop, rows, outcome.to)
}
