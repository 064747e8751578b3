// How far builds of SmolLM2 are from the float32 reference: mean KL of the next-token distributions on test/fixtures/smollm2's
// evaluation text (4 windows of 512 tokens). Lower bound of the KL from the 64 best tokens and the rest, as the README there
// defines it; `kl_top64` in quality.json are the same figures of reference quantisers. Exits 1 when one is above its limit.
//   npm run bench:quality -- [--model DIR] [--out DIR] [--dist DIR]
import { mkdirSync, readFileSync, rmSync } from "node:fs"
import { join } from "node:path"
import { parseArgs } from "node:util"
import { compile, fixture, need, npy, precisions, root, run } from "./programs.mjs"

const { values } = parseArgs({
  options: {
    model: { type: "string", default: join(root, ".demo", "SmolLM2-135M-Instruct") },
    out: { type: "string", default: join(root, ".demo", "quality") },
    dist: { type: "string", default: join(root, "dist") }
  }
})
need(join(values.model, "model.safetensors"), "npm run bench:model makes it, or name a folder with --model")

/**
 * Largest mean KL under --exact. bf16: the stored probabilities of the reference (64 best and the rest, float32) add up to 1 + 7.8e-6,
 * so that figure is what no difference at all gives. int8, int4 with an 8-bit head: what Q8_0 and Q4_0's layers give in quality.json,
 * and room. The default arithmetic (8-bit activations) is shown beside and has no limit.
 */
const limits = { bf16: 1e-5, int8: 0.0016, int4: 0.26 }

const { documents } = JSON.parse(readFileSync(join(fixture, "eval_text.json"), "utf8"))
const top = npy(join(fixture, "eval_top64_ids.npy")).data
const { data: logp, shape: [, positions, best] } = npy(join(fixture, "eval_top64_logp.npy"))
const rest = npy(join(fixture, "eval_rest_logp.npy")).data
const nll = npy(join(fixture, "eval_nll.npy")).data

const logSumExp = (logits) => {
  let max = -Infinity
  for (const value of logits) max = Math.max(max, value)
  let sum = 0
  for (const value of logits) sum += Math.exp(value - max)
  return max + Math.log(sum)
}

/** For each position of window `w`: KL(reference || ours), -log p of the next token, and whether the likeliest token is the same. */
const measure = (w, ids, { data, shape: [, vocabulary] }) =>
  Array.from({ length: positions }, (_, t) => {
    const row = data.subarray(t * vocabulary, (t + 1) * vocabulary)
    const total = logSumExp(row)
    const at = w * positions + t
    let kl = 0, inside = 0
    for (let k = at * best; k < (at + 1) * best; k++) {
      const q = row[top[k]] - total
      kl += Math.exp(logp[k]) * (logp[k] - q)
      inside += Math.exp(q)
    }
    const outside = Math.log(Math.max(1 - inside, 1e-12))
    return {
      kl: kl + Math.exp(rest[at]) * (rest[at] - outside),
      nll: total - row[ids[t + 1]],
      nllError: Math.abs(total - row[ids[t + 1]] - nll[at]),
      same: row.every((value) => value <= row[top[at * best]]) ? 1 : 0
    }
  })

const mean = (numbers) => numbers.reduce((a, b) => a + b, 0) / numbers.length
mkdirSync(values.out, { recursive: true })
const rows = []
for (const [name, precision] of Object.entries(precisions)) {
  const build = join(values.out, name)
  compile(values.dist, values.model, build, precision)
  for (const [i, arithmetic] of ["--exact", "default"].entries()) {
    const all = documents.flatMap(({ ids }, w) => {
      const file = `${build}.logits.npy`
      run(values.dist, build, ids, [
        "--max_new_tokens",
        "1",
        "--logits",
        file,
        ...(arithmetic === "--exact" ? ["--exact"] : [])
      ])
      return measure(w, ids, npy(file))
    })
    const kl = mean(all.map((one) => one.kl))
    const sorted = all.map((one) => one.kl).sort((a, b) => a - b)
    rows.push({
      weights: name,
      arithmetic,
      "mean KL": Number(kl.toPrecision(4)),
      "KL p99": Number(sorted[Math.floor(0.99 * sorted.length)].toPrecision(3)),
      PPL: Number(Math.exp(mean(all.map((one) => one.nll))).toFixed(4)),
      "same best": Number(mean(all.map((one) => one.same)).toFixed(4)),
      "max NLL error": Number(Math.max(...all.map((one) => one.nllError)).toPrecision(2)),
      limit: i === 0 ? limits[name] : "",
      ok: i === 0 ? kl <= limits[name] : ""
    })
  }
  rmSync(build, { recursive: true, force: true })
}
console.table(rows)
process.exitCode = rows.every(({ ok }) => ok !== false) ? 0 : 1
