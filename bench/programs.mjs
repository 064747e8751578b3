// What the benchmarks share: the built programs as child processes, with their time and their largest resident memory; reading .npy.
import { spawnSync } from "node:child_process"
import { readFileSync, rmSync, statSync, writeFileSync } from "node:fs"
import { loadavg, tmpdir } from "node:os"
import { dirname, join } from "node:path"
import { fileURLToPath } from "node:url"

/** The repository. */
export const root = dirname(dirname(fileURLToPath(import.meta.url)))
export const fixture = join(root, "test", "fixtures", "smollm2")
export const precisions = { bf16: "BF16", int8: "A_BF16_W_INT8", int4: "A_BF16_W_INT4" }

/** Runs a command to its end: its output, seconds, and peak resident bytes. A failed one ends the benchmark. */
const child = (command, args, env) => {
  const memory = join(tmpdir(), `llima-bench-${process.pid}.rss`)
  rmSync(memory, { force: true })
  const begun = performance.now()
  const { status, stdout, stderr } = spawnSync(command, args, {
    encoding: "utf8",
    maxBuffer: 1 << 28,
    stdio: ["ignore", "pipe", "pipe"],
    env: { ...process.env, ...env, LLIMA_BENCH_RSS: memory }
  })
  const seconds = (performance.now() - begun) / 1000
  if (status !== 0) {
    console.error(`${command} ${args.join(" ")}\n${stderr}${stdout}exit code ${status}`)
    process.exit(1)
  }
  return { stdout, stderr, seconds, rss: Number(readFileSync(memory, "utf8")) }
}

/** Runs one of the built programs; `dist` is the folder that they are in. */
export const llima = (dist, name, args, env = {}) =>
  child(process.execPath, ["--import", join(root, "bench", "rss.mjs"), join(dist, "bin", `${name}.js`), ...args], env)

/** Runs a peer's Python script of bench/peer. */
export const peer = (python, name, args, env = {}) => child(python, [join(root, "bench", "peer", name), ...args], env)

/** Compiles every part with one precision. */
export const compile = (dist, model, out, precision, args = []) => {
  const config = `${out}.py`
  writeFileSync(
    config,
    `def get_layer_configuration(model_properties, layer):\n    return {"precision": "${precision}"}\n`
  )
  rmSync(out, { recursive: true, force: true })
  return llima(dist, "llima-compile", [model, "-c", config, "-o", out, "--log_level", "ERROR", ...args])
}

/** Goes on from token ids; the printed object, with the child's figures. */
export const run = (dist, build, ids, args, env) => {
  const prompt = `${build}.prompt.json`
  writeFileSync(prompt, JSON.stringify(ids))
  const ran = llima(dist, "llima", ["run", build, "--prompt_ids", prompt, "--ignore_eos", "--json", ...args], env)
  return { ...ran, ...JSON.parse(ran.stdout) }
}

/** Shape and numbers of a .npy file, C order, little endian, u2 or f4. */
export const npy = (path) => {
  const file = readFileSync(path)
  const length = file.readUInt16LE(8)
  const header = file.subarray(10, 10 + length).toString("latin1")
  const shape = [...(/'shape': \(([^)]*)\)/.exec(header)?.[1] ?? "").matchAll(/\d+/g)].map(Number)
  const data = file.buffer.slice(file.byteOffset + 10 + length, file.byteOffset + file.length)
  return { shape, data: header.includes("<u2") ? new Uint16Array(data) : new Float32Array(data) }
}

/** The middle value; of an even number, the mean of the two. */
export const median = (values) => {
  const sorted = values.toSorted((a, b) => a - b)
  const half = sorted.length >> 1
  return sorted.length % 2 === 1 ? sorted[half] : (sorted[half - 1] + sorted[half]) / 2
}

/** Ends the benchmark when something that it needs is not there. */
export const need = (path, how) => {
  if (statSync(path, { throwIfNoEntry: false }) !== undefined) return
  console.error(`${path} is not there; ${how}`)
  process.exit(3)
}

/** Load of the machine: others' work makes times longer, ratios of one round less so. */
export const load = () => loadavg().map((value) => value.toFixed(1)).join(" ")
