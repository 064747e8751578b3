// Time, peak memory and bytes of llima-compile beside llama.cpp's quantiser (the library in npm node-llama-cpp) on the same weights,
// in turns; medians and the median of each round's ratio. llima-compile once without and once with --verify quick, its default. The peer's conversion to GGUF is bench/peer/convert.py, shown apart.
//   npm run bench:compile -- MODEL... --peer NODE_MODULES --python PYTHON [--rounds 3] [--out DIR] [--dist DIR]
import { existsSync, mkdirSync, readdirSync, rmSync, statSync } from "node:fs"
import { basename, join } from "node:path"
import { parseArgs } from "node:util"
import { compile, load, median, need, peer, precisions, root } from "./programs.mjs"

const { positionals: models, values } = parseArgs({
  allowPositionals: true,
  options: {
    peer: { type: "string", default: join(root, ".demo", "peer", "node_modules") },
    python: { type: "string", default: "python3" },
    rounds: { type: "string", default: "3" },
    out: { type: "string", default: join(root, ".demo", "compile") },
    dist: { type: "string", default: join(root, "dist") }
  }
})
need(join(values.peer, "@node-llama-cpp"), "npm install node-llama-cpp, and name its node_modules with --peer")
mkdirSync(values.out, { recursive: true })

/** Bytes on disk below a folder, hard links of the checkpoint left out. */
const bytesOf = (folder) =>
  readdirSync(folder, { withFileTypes: true, recursive: true }).reduce((total, entry) => {
    const { nlink, size } = statSync(join(entry.parentPath, entry.name))
    return entry.isFile() && !(nlink > 1 && entry.name.endsWith(".safetensors")) ? total + size : total
  }, 0)

const rows = []
for (const model of models) {
  const name = basename(model)
  const source = join(values.out, `${name}.gguf`)
  const converted = peer(values.python, "convert.py", [model, source])
  for (const [bits, kind] of [["int4", "Q4_0"], ["int8", "Q8_0"]]) {
    const ours = join(values.out, `${name}-${bits}`), theirs = join(values.out, `${name}-${kind}.gguf`)
    const rounds = Array.from({ length: Number(values.rounds) }, () => {
      const a = compile(values.dist, model, ours, precisions[bits], ["--verify", "none"])
      a.bytes = bytesOf(ours)
      const verified = compile(values.dist, model, ours, precisions[bits])
      verified.bytes = bytesOf(ours)
      rmSync(theirs, { force: true })
      const b = peer(values.python, "quantize.py", [values.peer, source, theirs, kind, "2"])
      b.bytes = statSync(theirs).size
      return { a, verified, b }
    })
    const row = (what, side) => ({
      model: name,
      what,
      "s": Number(median(rounds.map((round) => round[side].seconds)).toFixed(2)),
      "RSS MB": Math.round(median(rounds.map((round) => round[side].rss)) / 1e6),
      "written MB": Math.round(rounds[0][side].bytes / 1e6)
    })
    const ratio = median(rounds.map(({ a, b }) => a.seconds / b.seconds)).toFixed(2)
    rows.push(
      { ...row(`llima-compile ${bits} --verify none`, "a"), "time ratio": ratio },
      row(`llima-compile ${bits}`, "verified"),
      row(`llama.cpp ${kind}`, "b")
    )
    console.error(JSON.stringify(rows.slice(-3)), `load ${load()}`)
    if (existsSync(ours)) rmSync(ours, { recursive: true })
    rmSync(theirs)
  }
  rows.push({
    model: name,
    what: "convert.py",
    "s": Number(converted.seconds.toFixed(2)),
    "RSS MB": Math.round(converted.rss / 1e6),
    "written MB": Math.round(statSync(source).size / 1e6)
  })
  rmSync(source)
}
console.table(rows)
