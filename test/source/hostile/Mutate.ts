import type { Entry, Folder } from "../quantized/Folder.ts"

/** Numbers from 0 to below 1; mulberry32. */
export const chanceFrom = (seed: number): () => number => {
  let state = seed >>> 0
  return () => {
    state = (state + 0x6d2b79f5) >>> 0
    let t = Math.imul(state ^ (state >>> 15), state | 1)
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61)
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32
  }
}

/** Counts, lengths, offsets and types that readers fall over. */
const edges: ReadonlyArray<bigint> = [
  0n,
  1n,
  2n,
  8n,
  9n,
  12n,
  13n,
  31n,
  255n,
  0x7fffffffn,
  0x80000000n,
  0xffffffffn,
  2n ** 32n,
  2n ** 40n,
  2n ** 53n,
  2n ** 63n - 1n,
  2n ** 63n,
  2n ** 64n - 8n,
  2n ** 64n - 1n
]

/** A copy of `file` with one to three faults in `header`, a range of it. */
export const mutateBytes = (
  file: Uint8Array,
  header: readonly [start: number, end: number],
  chance: () => number
): Uint8Array => {
  let bytes = new Uint8Array(file)
  const random = (below: number) => Math.floor(chance() * below)
  const place = () => header[0] + random(Math.max(1, Math.min(header[1], bytes.length - 8) - header[0]))
  for (let faults = 1 + random(3); faults > 0; faults--) {
    const at = place()
    const view = new DataView(bytes.buffer)
    const edge = pick(chance, edges, 0n)
    const kind = random(7)
    if (kind === 0) bytes[at] = random(256)
    else if (kind === 1) bytes[at] = (bytes[at] ?? 0) ^ (1 << random(8))
    else if (kind === 2) view.setBigUint64(at, edge, true)
    else if (kind === 3) view.setUint32(at, Number(edge & 0xffffffffn), true)
    else if (kind === 4) bytes.copyWithin(at, place(), place())
    else if (kind === 5) bytes = bytes.slice(0, at + 9)
    else {
      const longer = new Uint8Array(bytes.length + 8)
      longer.set(bytes.subarray(0, at))
      longer.set(bytes.subarray(at), at + 8)
      bytes = longer
    }
    if (bytes.length < header[0] + 16) break
  }
  return bytes
}

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
export const mutateJson = (value: unknown, chance: () => number): unknown => {
  if (!isRecord(value) || chance() < 0.05) return pick(chance, strange, undefined)
  const key = pick(chance, chance() < 0.85 ? Object.keys(value) : keys, "bits")
  const others = Object.entries(value).filter(([other]) => other !== key)
  if (chance() < 0.1) return Object.fromEntries(others)
  const deeper = isRecord(value[key]) && chance() < 0.85
  return Object.fromEntries([...others, [
    key,
    deeper ? mutateJson(value[key], chance) : pick(chance, strange, undefined)
  ]])
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
export const mutateFolder = ({ config, tensors }: Folder, chance: () => number): Folder => {
  let settings = isRecord(config) ? config : {}
  const changed = new Map(tensors)
  const ofQuantised = [...tensors.keys()].filter((name) => !name.includes("norm") && !name.includes("embed"))
  for (let left = Math.ceil(chance() * 3); left > 0; left--) {
    const what = chance()
    const name = pick(chance, ofQuantised, "")
    const tensor = changed.get(name)
    if (what < 0.4) {
      const quantization = mutateJson(settings["quantization_config"], chance)
      settings = { ...settings, quantization_config: quantization }
    } else if (tensor === undefined || what < 0.55) changed.delete(name)
    else if (what < 0.65) changed.set(pick(chance, ofQuantised, name), tensor)
    else changed.set(name, mutateTensor(tensor, chance))
  }
  return { config: settings, tensors: changed }
}
