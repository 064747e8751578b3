// How far quantised builds of SmolLM2 are from the float32 reference: mean KL of the next-token distributions on
// test/fixtures/smollm2's evaluation text (4 windows of 512 tokens). Lower bound of the KL from the 64 best tokens and the
// rest, as test/fixtures/smollm2/README.md defines it.   npm run bench:quality -- [--model DIR] [--out DIR]
import { execFileSync } from "node:child_process"
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { dirname, join } from "node:path"
import { fileURLToPath } from "node:url"
import { parseArgs } from "node:util"

const root = dirname(dirname(fileURLToPath(import.meta.url)))
const { values } = parseArgs({
  options: {
    model: { type: "string", default: join(root, ".demo", "SmolLM2-135M-Instruct") },
    out: { type: "string", default: join(root, ".demo", "quality") }
  }
})
if (!existsSync(join(values.model, "model.safetensors"))) {
  console.error(`${values.model} is not there; npm run demo makes it, or name a folder with --model`)
  process.exit(3)
}
const fixture = join(root, "test", "fixtures", "smollm2")
const program = (name, ...args) =>
  execFileSync(process.execPath, [join(root, "dist", "bin", `${name}.js`), ...args], {
    encoding: "utf8",
    stdio: ["ignore", "pipe", "inherit"]
  })

/** Numbers of a .npy file, C order, little endian. */
const npy = (path) => {
  const file = readFileSync(path)
  const length = file.readUInt16LE(8)
  const header = file.subarray(10, 10 + length).toString("latin1")
  const shape = [...(/'shape': \(([^)]*)\)/.exec(header)?.[1] ?? "").matchAll(/\d+/g)].map(Number)
  const data = file.buffer.slice(file.byteOffset + 10 + length, file.byteOffset + file.length)
  return { shape, data: header.includes("<u2") ? new Uint16Array(data) : new Float32Array(data) }
}

const documents = JSON.parse(readFileSync(join(fixture, "eval_text.json"), "utf8"))
const windows = (documents.documents ?? documents).map(({ ids }) => ids)
const top = npy(join(fixture, "eval_top64_ids.npy")), logp = npy(join(fixture, "eval_top64_logp.npy"))
const rest = npy(join(fixture, "eval_rest_logp.npy")).data
const [, positions, best] = top.shape

const logSumExp = (logits, from, count) => {
  let max = -Infinity
  for (let i = 0; i < count; i++) max = Math.max(max, logits[from + i])
  let sum = 0
  for (let i = 0; i < count; i++) sum += Math.exp(logits[from + i] - max)
  return max + Math.log(sum)
}

/** KL(reference || ours) of each position of window `w`, from the 64 best tokens and the rest. */
const divergences = (w, { data, shape: [, vocabulary] }) =>
  Array.from({ length: positions }, (_, t) => {
    const total = logSumExp(data, t * vocabulary, vocabulary)
    let kl = 0, inside = 0
    for (let k = 0; k < best; k++) {
      const at = (w * positions + t) * best + k
      const q = data[t * vocabulary + top.data[at]] - total
      kl += Math.exp(logp.data[at]) * (logp.data[at] - q)
      inside += Math.exp(q)
    }
    const r = rest[w * positions + t]
    return kl + Math.exp(r) * (r - Math.log(Math.max(1 - inside, 1e-30)))
  })

rmSync(values.out, { recursive: true, force: true })
mkdirSync(values.out, { recursive: true })
const rows = []
for (const precision of ["BF16", "A_BF16_W_INT8", "A_BF16_W_INT4"]) {
  const config = join(values.out, `${precision}.py`), build = join(values.out, precision)
  writeFileSync(
    config,
    `def get_layer_configuration(model_properties, layer):\n    return {"precision": "${precision}"}\n`
  )
  program("llima-compile", values.model, "-c", config, "-o", build, "--log_level", "ERROR")
  for (const exact of [true, false]) {
    const all = windows.flatMap((ids, w) => {
      const prompt = join(values.out, "prompt.json"), logits = join(values.out, "logits.npy")
      writeFileSync(prompt, JSON.stringify(ids))
      program(
        "llima",
        "run",
        build,
        "--prompt_ids",
        prompt,
        "--max_new_tokens",
        "1",
        "--ignore_eos",
        "--logits",
        logits,
        "--json",
        ...(exact ? ["--exact"] : [])
      )
      return divergences(w, npy(logits))
    })
    const mean = all.reduce((a, b) => a + b, 0) / all.length
    rows.push({ precision, arithmetic: exact ? "--exact" : "default", "mean KL": mean.toExponential(2) })
    console.error(
      `${precision} ${exact ? "--exact" : "default"}: mean KL ${mean.toExponential(3)} over ${all.length} tokens`
    )
  }
}
console.table(rows)
