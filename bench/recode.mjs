// GB/s of GGUF's types: kernels in one thread, and file → file through the service, with what is written and the peak RSS.
// node bench/recode.mjs [MEGABYTES [TYPE…]]: random codes with ordinary scales, the source in the page cache, a new file written.
// The best of the rounds, as the machine may be shared: its load stands beside.
import { Effect } from "effect"
import {
  closeSync,
  ftruncateSync,
  mkdtempSync,
  openSync,
  readFileSync,
  rmSync,
  writeFileSync,
  writeSync
} from "node:fs"
import { loadavg, tmpdir } from "node:os"
import { join } from "node:path"
import { layoutBlob } from "../src/quantize/Blob.ts"
import { blocks } from "../src/quantize/format/gguf/registry.ts"
import { Instance } from "../src/quantize/kernel/Instance.ts"
import { Kernels } from "../src/quantize/Kernels.ts"

const [megabytes = 256, ...names] = process.argv.slice(2)
const gigabytes = (bytes, milliseconds) => (bytes / 1e6 / milliseconds).toFixed(2)

/** Where the f16 scales of a block are, so that random bytes do not make infinities of them. */
const scales = {
  Q4_0: [0],
  Q4_1: [0, 2],
  Q5_0: [0],
  Q5_1: [0, 2],
  Q8_0: [0],
  Q2_K: [80, 82],
  Q3_K: [108],
  Q4_K: [0, 2],
  Q5_K: [0, 2],
  Q6_K: [208],
  IQ4_NL: [0],
  IQ4_XS: [0],
  TQ1_0: [52],
  TQ2_0: [64]
}
const columns = 4096
const types = blocks.filter(({ name }) => scales[name] !== undefined && (names.length === 0 || names.includes(name)))

/** Rows of random blocks, about as many bytes; scales between 0.5 and 2 times 2^-8, as they vary in a model. */
const randomRows = ({ bytes, name, numbers }, size) => {
  const inRow = columns / numbers
  const rows = Math.floor(size / (inRow * bytes))
  const stored = new Uint8Array(rows * inRow * bytes)
  const words = new Uint32Array(stored.buffer, 0, stored.length >> 2)
  for (let i = 0, state = 1; i < words.length; i++) {
    state ^= state << 13
    state ^= state >>> 17
    words[i] = state ^= state << 5
  }
  for (let at = 0; at < stored.length; at += bytes) {
    for (const field of scales[name]) stored[at + field + 1] = 0x18 + (stored[at + field + 1] & 7)
  }
  return { rows, stored }
}

const load = () => `load ${loadavg()[0]?.toFixed(1)}`

console.log(`kernels, one thread, GB/s of stored blocks: recode, survey (what was made), expand (to f32); ${load()}`)
for (const block of types) {
  const { name, numbers } = block
  const { form, high, low } = block.codes
  const { rows, stored } = randomRows(block, 1 << 19)
  const count = rows * columns
  const instance = new Instance()
  const inRow = columns / form.block
  const sizes = [stored.length, count, rows * inRow * 4, rows * inRow * 4, count * 4]
  const [at, codes, scalesAt, minimum, values] = instance.place(sizes)
  instance.bytes.set(stored, at)
  const zero = form.zeros === "none" ? 0 : 2 ** (form.bits - 1)
  const half = form.scales === "f16" ? 1 : 0
  const shape = [
    rows,
    columns,
    inRow,
    form.block,
    form.bits,
    codes,
    0,
    zero,
    scalesAt,
    half,
    form.minimum ? minimum : 0
  ]
  const kernels = [
    () => instance.exports[`recode_${name}`](at, count / numbers, codes, scalesAt, minimum),
    () => instance.exports.survey(...shape, low, high),
    () => instance.exports.expand(...shape, values)
  ]
  const line = kernels.map((kernel) =>
    gigabytes(
      stored.length,
      Math.min(...Array.from({ length: 100 }, () => {
        instance.exports.reset()
        const start = performance.now()
        kernel()
        return performance.now() - start
      }))
    )
  )
  console.log(`  ${name.padEnd(6)} ${line.join("  ")}`)
}

/** The process's peak resident megabytes since the last call (Linux). */
const peak = () => {
  const kibibytes = /VmHWM:\s+(\d+)/.exec(readFileSync("/proc/self/status", "utf8"))?.[1]
  writeFileSync("/proc/self/clear_refs", "5")
  return Math.round(Number(kibibytes) * 1024 / 1e6)
}

/** A file of some megabytes of blocks, made from a few. */
const storedFile = (folder, block) => {
  const { rows, stored } = randomRows(block, 4e6)
  const times = Math.ceil(megabytes * 1e6 / stored.length)
  const file = join(folder, "stored.bin")
  const fd = openSync(file, "w")
  for (let i = 0; i < times; i++) writeSync(fd, stored)
  closeSync(fd)
  return { file, rows: rows * times, length: stored.length * times }
}

const folder = mkdtempSync(join(tmpdir(), "llima-bench-"))
peak()
const rest = peak()
try {
  console.log(
    `file → file, ${megabytes} MB of each, GB/s of stored blocks (and of what is written); at rest ${rest} MB`
  )
  for (const block of types) {
    const { file, length: bytes, rows } = storedFile(folder, block)
    const tensor = { name: block.name, dtype: "f32", shape: [rows, columns], range: { file, offset: 0, length: bytes } }
    const source = {
      ...tensor,
      coded: {
        format: `gguf/${block.name}`,
        pieces: { blocks: tensor },
        bits: 4,
        group: 32,
        ordered: false,
        interleavedHeads: 0,
        addend: 0
      }
    }
    const { form } = block.codes
    const { length, weights: [{ codes, minimum, scales }] } = layoutBlob([{ name: block.name, rows, columns, form }])
    peak()
    const line = []
    for (const jobs of [1, 2]) {
      const rounds = Effect.gen(function*() {
        const kernels = yield* Kernels
        const times = { recode: [], scan: [] }
        for (let round = 0; round < 8; round++) {
          const out = join(folder, `${round}.bin`)
          const fd = openSync(out, "w")
          ftruncateSync(fd, length)
          closeSync(fd)
          const place = { file: out, codes: codes.offset, scales: scales.offset }
          const start = performance.now()
          yield* kernels.recode({
            source,
            form,
            to: { ...place, ...minimum === undefined ? {} : { minimum: minimum.offset } }
          })
          const middle = performance.now()
          yield* kernels.scan(source)
          times.recode.push(middle - start)
          times.scan.push(performance.now() - middle)
          rmSync(out)
        }
        return times
      }).pipe(Effect.provide(Kernels.layer(jobs)))
      const times = await Effect.runPromise(rounds)
      const [recode, scan] = [times.recode, times.scan].map((all) => Math.min(...all))
      line.push(
        `${jobs} ${jobs === 1 ? "worker" : "workers"}: recode ${gigabytes(bytes, recode)} (${
          gigabytes(length, recode)
        }), `
          + `decode to f32 and scan ${gigabytes(bytes, scan)}`
      )
    }
    console.log(`  ${block.name.padEnd(6)} ${line.join("; ")}; peak ${peak()} MB; ${load()}`)
  }
} finally {
  rmSync(folder, { recursive: true })
}
