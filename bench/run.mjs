// Prompt and decode speed of `llima run` beside llama.cpp (the library in npm node-llama-cpp) on the same weights, two threads, the same
// ids and context, in turns; medians and the median of each round's ratio.
//   npm run bench:run -- MODEL... --peer NODE_MODULES --python PYTHON [--rounds 3] [--bits int4,int8] [--out DIR] [--dist DIR]
import { mkdirSync, rmSync, writeFileSync } from "node:fs"
import { availableParallelism } from "node:os"
import { basename, join } from "node:path"
import { parseArgs } from "node:util"
import { compile, load, median, need, peer, precisions, root, run } from "./programs.mjs"

const { positionals: models, values } = parseArgs({
  allowPositionals: true,
  options: {
    peer: { type: "string", default: join(root, ".demo", "peer", "node_modules") },
    python: { type: "string", default: "python3" },
    rounds: { type: "string", default: "3" },
    bits: { type: "string", default: "int4,int8" },
    out: { type: "string", default: join(root, ".demo", "run") },
    dist: { type: "string", default: join(root, "dist") }
  }
})
need(join(values.peer, "@node-llama-cpp"), "npm install node-llama-cpp, and name its node_modules with --peer")
mkdirSync(values.out, { recursive: true })
const kinds = { int4: "Q4_0", int8: "Q8_0" }
const tokens = 64, context = 1024, threads = String(availableParallelism())
const ids = Array.from({ length: 128 }, (_, i) => 300 + (i * 7919) % 40000)
const prompt = join(values.out, "ids.json")
writeFileSync(prompt, JSON.stringify(ids))

const rows = []
for (const model of models) {
  const name = basename(model)
  const source = join(values.out, `${name}.gguf`)
  peer(values.python, "convert.py", [model, source])
  for (const bits of values.bits.split(",")) {
    const ours = join(values.out, `${name}-${bits}`), theirs = join(values.out, `${name}-${kinds[bits]}.gguf`)
    const env = { LLIMA_CACHE: `${ours}.cache` }
    compile(values.dist, model, ours, precisions[bits], ["--max_num_tokens", String(context)])
    peer(values.python, "quantize.py", [values.peer, source, theirs, kinds[bits], threads])
    run(values.dist, ours, [1], ["--max_new_tokens", "1"], env) // unpacks the archives into the cache
    const rounds = Array.from({ length: Number(values.rounds) }, () => {
      const a = run(values.dist, ours, ids, ["--max_new_tokens", String(tokens)], env)
      const b = peer(values.python, "generate.py", [
        values.peer,
        theirs,
        prompt,
        String(tokens),
        threads,
        String(context)
      ])
      return { a, b: { ...b, ...JSON.parse(b.stdout) } }
    })
    const speed = (side, key) => median(rounds.map((round) => round[side].timings[key]))
    const row = (what, side) => ({
      model: name,
      what,
      "prompt tokens/s": Number(speed(side, "promptTokensPerSecond").toFixed(0)),
      "decode tokens/s": Number(speed(side, "decodeTokensPerSecond").toFixed(1)),
      "load s": Number(speed(side, "loadSeconds").toFixed(2)),
      "RSS MB": Math.round(median(rounds.map((round) => round[side].rss)) / 1e6)
    })
    const ratio = (key) => median(rounds.map(({ a, b }) => a.timings[key] / b.timings[key])).toFixed(2)
    rows.push(
      {
        ...row(`llima ${bits}`, "a"),
        "prompt ratio": ratio("promptTokensPerSecond"),
        "decode ratio": ratio("decodeTokensPerSecond")
      },
      row(`llama.cpp ${kinds[bits]}`, "b")
    )
    console.error(JSON.stringify(rows.slice(-2)), `load ${load()}`)
    for (const path of [ours, theirs, env.LLIMA_CACHE]) rmSync(path, { recursive: true, force: true })
  }
  rmSync(source)
}
console.table(rows)
