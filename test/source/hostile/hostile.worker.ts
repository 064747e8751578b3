// Opens damaged checkpoints, one after the other, in a heap of its own that is limited from outside.
import { Cause, Effect, Exit, Layer, Path, Result, Runtime } from "effect"
import { parentPort, workerData } from "node:worker_threads"
import { find } from "../../../src/arch/registry.ts"
import { formatOf } from "../../../src/quantize/format/registry.ts"
import * as Checkpoint from "../../../src/source/Checkpoint.ts"
import { SourceError } from "../../../src/source/SourceError.ts"
import { MOST_BYTES, type Outcome, type Task } from "./Batch.ts"
import { type Damaged, kinds } from "./Cases.ts"
import { folderOf } from "./Memory.ts"
import { chanceFrom } from "./Mutate.ts"

const { count, kind, progress, seed }: Task = workerData
const done = new Int32Array(progress)

/** Bytes of the arrays that were made since the case began; the heap's limit, which counts all else, does not see them. */
let allocated = 0

const counting = <C extends new(...args: ReadonlyArray<never>) => { readonly byteLength: number }>(made: C): C =>
  new Proxy(made, {
    construct: (target, args, self) => {
      const [first]: ReadonlyArray<unknown> = args
      const array: { readonly byteLength: number } = Reflect.construct(target, args, self)
      if (!(first instanceof ArrayBuffer || first instanceof SharedArrayBuffer)) allocated += array.byteLength
      return array
    }
  })

globalThis.Uint8Array = counting(Uint8Array)
globalThis.Float64Array = counting(Float64Array)
globalThis.Float32Array = counting(Float32Array)
globalThis.ArrayBuffer = counting(ArrayBuffer)

const expectTrue = (value: boolean, what: string): void => {
  if (!value) throw new Error(what)
}

/** What must hold of what was taken: ranges within their files, pieces of the size that their format needs, a family that answers. */
const check = ({ config, kind, made, tensors }: Checkpoint.Checkpoint, { files }: Damaged): void => {
  const family = find(`${config["model_type"]}`)
  const read = family?.read(config)
  expectTrue(read === undefined || Result.isResult(read), "a family answers")
  made()
  for (const tensor of tensors.values()) {
    const { coded, range: { file, length, offset } } = tensor
    const bytes = files.get(file.replace("/hostile/", ""))?.length ?? 0
    expectTrue(offset + length <= bytes, `${tensor.name} ends within its file`)
    if (coded === undefined || kind !== "quantized") continue
    const format = formatOf(tensor)
    for (const [name, size] of Object.entries(format.sizes(tensor))) {
      expectTrue(coded.pieces[name]?.range.length === size, `${tensor.name} has a ${name} of ${size} bytes`)
    }
    const form = format.form(tensor)
    if (form === undefined) continue
    expectTrue([16, 32, 64, 128, 256].includes(form.block), `${tensor.name} has a block of ours`)
    expectTrue(coded.group % form.block === 0 || coded.group === tensor.shape[1], `${tensor.name} has whole blocks`)
  }
}

const reasons: Record<string, number> = {}

const one = Effect.fnUntraced(function*(damaged: Damaged) {
  const size = Array.from(damaged.files.values()).reduce((sum, { length }) => sum + length, 0)
  allocated = 0
  const checked = Effect.map(
    Checkpoint.open(`/hostile/${damaged.opened}`),
    (checkpoint) => check(checkpoint, damaged)
  )
  const exit = yield* Effect.exit(Effect.provide(checked, Layer.merge(Path.layer, folderOf(damaged.files))))
  expectTrue(allocated - size < MOST_BYTES, `${allocated} bytes of arrays for files of ${size}`)
  const error = Exit.isSuccess(exit) ? undefined : Cause.squash(exit.cause)
  if (error !== undefined && !(error instanceof SourceError)) throw error
  expectTrue(error?.message.includes("undefined") !== true, `${error?.message}`)
  const code = error === undefined ? undefined : error[Runtime.errorExitCode]
  const tag = error === undefined ? "taken" : `${code} ${error.reason._tag}`
  reasons[tag] = (reasons[tag] ?? 0) + 1
})

const make = kinds[kind]()

const all = Effect.gen(function*() {
  for (let index = 0; index < count; index++) {
    Atomics.store(done, 0, index + 1)
    yield* one(make(index, chanceFrom(seed + 7919 * index)))
  }
})

void Effect.runPromiseExit(all).then((exit) => {
  const failure = Exit.isSuccess(exit) ? undefined : Cause.pretty(exit.cause)
  const outcome: Outcome = { failure, reasons }
  parentPort?.postMessage(outcome, [])
})
