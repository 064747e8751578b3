// Builds what package.json names: the library (tsc) and the bundled programs with their workers (rolldown).
import { execFileSync } from "node:child_process"
import { chmodSync, existsSync, rmSync } from "node:fs"
import { dirname, join } from "node:path"
import { fileURLToPath } from "node:url"

const root = dirname(dirname(fileURLToPath(import.meta.url)))
const bin = join(root, "node_modules", ".bin")
// An installed package has no development tools: what it ships is built already.
if (existsSync(join(bin, "rolldown"))) {
  const run = (tool, ...args) =>
    execFileSync(process.execPath, [join(bin, tool), ...args], { cwd: root, stdio: "inherit" })
  const started = performance.now()
  rmSync(join(root, "dist"), { recursive: true, force: true })
  execFileSync(join(bin, "tsc"), ["-p", "tsconfig.build.json"], { cwd: root, stdio: "inherit" })
  run("rolldown", "-c", "rolldown.config.ts", "--log-level", "warn")
  for (const name of ["llima-compile", "llima-compile-lora", "llima"]) {
    chmodSync(join(root, "dist", "bin", `${name}.js`), 0o755)
  }
  console.error(`built dist/ in ${((performance.now() - started) / 1000).toFixed(1)} s`)
}
