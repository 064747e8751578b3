// GB/s of the kernels in one thread, and file → file through the service with 1 and 2 workers.
// node bench/quantize.mjs MODEL.safetensors: source bytes per second, median of the rounds; output goes to a temporary folder.
import { Effect } from "effect"
import { closeSync, ftruncateSync, mkdtempSync, openSync, readSync, rmSync, statSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { layoutBlob } from "../src/quantize/Blob.ts"
import { Instance } from "../src/quantize/kernel/Instance.ts"
import { Kernels } from "../src/quantize/Kernels.ts"

const [file] = process.argv.slice(2)
if (file === undefined) {
  console.error("usage: node bench/quantize.mjs MODEL.safetensors")
  process.exit(2)
}
const median = (values) => values.sort((a, b) => a - b)[values.length >> 1]
const gigabytes = (bytes, milliseconds) => (bytes / 1e6 / milliseconds).toFixed(2)

const instance = new Instance()
const size = 1 << 20, columns = 2048
const [from, codes, scales] = instance.place([size, size, size])
const values = Float32Array.from(
  { length: size / 2 },
  () => (Math.random() + Math.random() + Math.random() - 1.5) * 0.04
)
const words = new Uint32Array(values.buffer)
const stored = {
  bf16: new Uint8Array(Uint16Array.from(words, (word) => (word + 0x8000) >>> 16).buffer),
  f16: new Uint8Array(new Float16Array(values).buffer),
  f32: new Uint8Array(values.buffer, 0, size)
}
console.log("kernel, one thread, GB/s of source")
for (const [dtype, bytes] of Object.entries(stored)) {
  instance.bytes.set(bytes, from)
  const count = size / (dtype === "f32" ? 4 : 2)
  const line = ["int4", "int8", "rows", "scan"].map((name) => {
    const kernel = instance.exports[`${name}_${dtype}`]
    const times = Array.from({ length: 100 }, () => {
      const start = performance.now()
      if (name === "scan") kernel(from, count)
      else kernel(from, count / columns, columns, codes, scales)
      return performance.now() - start
    })
    return `${name} ${gigabytes(size, median(times))}`
  })
  console.log(`  ${dtype}: ${line.join("  ")}`)
}

/** Matrices of the file, embeddings and head included. */
const matrices = () => {
  const fd = openSync(file, "r")
  const length = Buffer.alloc(8)
  readSync(fd, length, 0, 8, 0)
  const text = Buffer.alloc(Number(length.readBigUInt64LE()))
  readSync(fd, text, 0, text.length, 8)
  closeSync(fd)
  return Object.entries(JSON.parse(text.toString())).flatMap((
    [name, { data_offsets: [begin, end] = [], dtype, shape }]
  ) =>
    shape?.length === 2
      ? [{
        name,
        dtype: dtype.toLowerCase(),
        shape,
        range: { file, offset: 8 + text.length + begin, length: end - begin }
      }]
      : []
  )
}

const folder = mkdtempSync(join(tmpdir(), "llima-bench-"))
try {
  const tensors = matrices()
  const bytes = tensors.reduce((sum, { range }) => sum + range.length, 0)
  console.log(
    `file → file, ${tensors.length} matrices, ${(bytes / 1e9).toFixed(2)} of ${
      (statSync(file).size / 1e9).toFixed(2)
    } GB`
  )
  for (const bits of [4, 8]) {
    const layout = layoutBlob(tensors.map(({ name, shape: [rows, columns] }) => ({
      name,
      rows,
      columns,
      form: { bits, block: 32, scales: "f16", zeros: "middle", minimum: false, ordered: false }
    })))
    for (const jobs of [1, 2]) {
      const rounds = Effect.gen(function*() {
        const kernels = yield* Kernels
        const times = []
        for (let round = 0; round < 6; round++) {
          const out = join(folder, `${bits}-${jobs}-${round}.bin`)
          const fd = openSync(out, "w")
          ftruncateSync(fd, layout.length)
          closeSync(fd)
          const start = performance.now()
          yield* Effect.forEach(tensors, (source, i) => {
            const { codes, scales } = layout.weights[i]
            return kernels.quantize({
              source,
              bits,
              destination: { file: out, codes: codes.offset, scales: scales.offset }
            })
          }, { concurrency: 2 * jobs + 2, discard: true })
          times.push(performance.now() - start)
          rmSync(out)
        }
        return times
      }).pipe(Effect.provide(Kernels.layer(jobs)))
      const [first, ...rest] = await Effect.runPromise(rounds)
      console.log(
        `  int${bits}, ${jobs} ${jobs === 1 ? "worker" : "workers"}: ${gigabytes(bytes, median(rest))} GB/s `
          + `(first round, threads starting: ${gigabytes(bytes, first)})`
      )
    }
  }
} finally {
  rmSync(folder, { recursive: true })
}
