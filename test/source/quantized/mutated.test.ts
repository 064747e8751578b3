import * as NodeServices from "@effect/platform-node/NodeServices"
import { assert, layer } from "@effect/vitest"
import { Effect, Result } from "effect"
import { formatOf } from "../../../src/quantize/format/registry.ts"
import * as Checkpoint from "../../../src/source/Checkpoint.ts"
import { SourceError } from "../../../src/source/SourceError.ts"
import { generator } from "../../quantize/Reference.ts"
import { type Entry, type Folder, readFolder, writeFolder } from "./Folder.ts"

const bases = ["negative/valid", "negative/valid-gptq", "llama-fp8-dynamic", "llama-autoawq-g32", "llama-nvfp4a16"]

const isRecord = (value: unknown): value is Readonly<Record<string, unknown>> =>
  typeof value === "object" && value !== null && !Array.isArray(value)

const strange: ReadonlyArray<unknown> = [
  null,
  -1,
  0,
  3,
  5,
  8,
  16,
  17,
  1e300,
  2 ** 53,
  0.5,
  true,
  "",
  "int-quantized",
  "gptq",
  "awq",
  "channel",
  "re:(a+)+$",
  [],
  ["re:[", 7],
  {},
  { weights: null },
  { weights: { num_bits: 4 } }
]

const keys = [
  "bits",
  "group_size",
  "num_bits",
  "format",
  "strategy",
  "quant_method",
  "__proto__",
  "symmetric",
  "weights"
]

/** One of these, by chance. */
const pick = <A>(chance: () => number, of: ReadonlyArray<A>, otherwise: A): A =>
  of[Math.floor(chance() * of.length)] ?? otherwise

/** The value with one of its members, at any depth, replaced, removed or added. */
const mutate = (value: unknown, chance: () => number): unknown => {
  if (!isRecord(value) || chance() < 0.05) return pick(chance, strange, undefined)
  const key = pick(chance, chance() < 0.85 ? Object.keys(value) : keys, "bits")
  const others = Object.entries(value).filter(([other]) => other !== key)
  if (chance() < 0.1) return Object.fromEntries(others)
  const deeper = isRecord(value[key]) && chance() < 0.85
  return Object.fromEntries([...others, [key, deeper ? mutate(value[key], chance) : pick(chance, strange, undefined)]])
}

const widths: Readonly<Record<string, number>> = { I8: 1, U8: 1, F8_E4M3: 1, BF16: 2, F16: 2, I32: 4, F32: 4, I64: 8 }

/** The tensor with another dtype, shape or content; sound as far as the file's format goes. */
const mutateTensor = ({ data, dtype, shape }: Entry, chance: () => number): Entry => {
  if (chance() < 0.3) {
    return { dtype, shape, data: data.map((byte) => chance() < 0.2 ? Math.floor(chance() * 256) : byte) }
  }
  const to = chance() < 0.4 ? pick(chance, Object.keys(widths), dtype) : dtype
  const count = shape.reduce((a, b) => a * b, 1)
  const next = pick(chance, [
    shape,
    shape.toReversed(),
    [...shape, 1],
    [count],
    [],
    shape.map((size) => Math.max(0, size - 1)),
    shape.map((size) => size * 2),
    shape.map(() => 0)
  ], shape)
  return { dtype: to, shape: next, data: new Uint8Array(next.reduce((a, b) => a * b, 1) * (widths[to] ?? 1)) }
}

/** One to three changes: of a setting, of a tensor, a tensor less, or a tensor under another's name. */
const mutateFolder = ({ config, tensors }: Folder, chance: () => number): Folder => {
  let settings = isRecord(config) ? config : {}
  const changed = new Map(tensors)
  const ofQuantised = [...tensors.keys()].filter((name) => !name.includes("norm") && !name.includes("embed"))
  for (let left = Math.ceil(chance() * 3); left > 0; left--) {
    const what = chance()
    const name = pick(chance, ofQuantised, "")
    const tensor = changed.get(name)
    if (what < 0.4) {
      const quantization = mutate(settings["quantization_config"], chance)
      settings = { ...settings, quantization_config: quantization }
    } else if (tensor === undefined || what < 0.55) changed.delete(name)
    else if (what < 0.65) changed.set(pick(chance, ofQuantised, name), tensor)
    else changed.set(name, mutateTensor(tensor, chance))
  }
  return { config: settings, tensors: changed }
}

/** What must hold of a folder that is taken: the kernels find every piece with the bytes that its format needs. */
const checkTaken = ({ kind, tensors }: Checkpoint.Checkpoint) => {
  for (const tensor of tensors.values()) {
    if (tensor.coded === undefined) continue
    assert.strictEqual(kind, "quantized")
    const format = formatOf(tensor)
    for (const [name, bytes] of Object.entries(format.sizes(tensor))) {
      assert.strictEqual(tensor.coded.pieces[name]?.range.length, bytes, `${tensor.name} ${name}`)
    }
    const form = format.form(tensor)
    if (form === undefined) continue
    assert.isTrue([16, 32, 64, 128, 256].includes(form.block))
    assert.isTrue(tensor.coded.group % form.block === 0 || tensor.coded.group === tensor.shape[1])
  }
}

layer(NodeServices.layer)("open", (it) => {
  it.effect.each(bases)("takes or refuses 120 folders made of %s, and never dies", (base) =>
    Effect.gen(function*() {
      const folder = readFolder(base)
      const chance = generator(base.length)
      const reasons = new Set<string>()
      let taken = 0
      for (let i = 0; i < 120; i++) {
        const path = yield* writeFolder(mutateFolder(folder, chance))
        const result = yield* Effect.result(Checkpoint.open(path))
        if (Result.isSuccess(result)) {
          taken++
          checkTaken(result.success)
        } else {
          assert.instanceOf(result.failure, SourceError)
          assert.notInclude(result.failure.message, "undefined")
          reasons.add(result.failure.reason._tag)
        }
      }
      // the changes reach the code: folders of both kinds, and several kinds of errors
      assert.isAbove(taken, 0)
      assert.isBelow(taken, 100)
      assert.isTrue(reasons.has("PieceInvalid") && reasons.has("UnsupportedQuantization"), [...reasons].join(" "))
    }))
})
