// Does a BF16 build of SmolLM2 say what the float32 reference says? All 12 prompts of test/fixtures/smollm2 with `--exact`: greedy tokens
// up to `exact_steps`, and the logits after two of the prompts within 1e-3. Exits 1 on a miss.
//   npm run bench:exact -- [--model DIR] [--out DIR] [--dist DIR]
import { existsSync, mkdirSync, readFileSync, rmSync } from "node:fs"
import { join } from "node:path"
import { parseArgs } from "node:util"
import { compile, fixture, need, npy, precisions, root, run } from "./programs.mjs"

const { values } = parseArgs({
  options: {
    model: { type: "string", default: join(root, ".demo", "SmolLM2-135M-Instruct") },
    out: { type: "string", default: join(root, ".demo", "exact") },
    dist: { type: "string", default: join(root, "dist") }
  }
})
need(join(values.model, "model.safetensors"), "npm run bench:model makes it, or name a folder with --model")
mkdirSync(values.out, { recursive: true })
const build = join(values.out, "bf16"), file = `${build}.logits.npy`
compile(values.dist, values.model, build, precisions.bf16)

const rows = JSON.parse(readFileSync(join(fixture, "prompts.json"), "utf8")).map(
  ({ exact_steps: steps, greedy_ids: greedy, ids, name }) => {
    const got = run(values.dist, build, ids, ["--max_new_tokens", String(greedy.length), "--logits", file, "--exact"])
    const miss = greedy.findIndex((id, i) => id !== got.ids[i])
    const equal = miss < 0 ? greedy.length : miss
    const expected = join(fixture, `logits_${name}.npy`)
    const vocabulary = npy(file).shape[1]
    const last = npy(file).data.subarray(-vocabulary)
    const error = existsSync(expected)
      ? Math.max(...npy(expected).data.map((value, i) => Math.abs(value - last[i])))
      : undefined
    return {
      prompt: name,
      tokens: ids.length,
      "exact steps": steps,
      "equal steps": equal,
      "of": greedy.length,
      "max logit error": error === undefined ? "" : error.toExponential(2),
      ok: equal >= steps && (error === undefined || error <= 1e-3)
    }
  }
)
rmSync(build, { recursive: true, force: true })
console.table(rows)
process.exitCode = rows.every(({ ok }) => ok) ? 0 : 1
