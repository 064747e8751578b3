// Adds to package-lock.json the optional packages of other platforms that the registry at hand does not list; without their
// entries `npm ci` refuses the lock file everywhere. They have no integrity: npm takes it from the registry that has them.
// Run after every `npm install`: node scripts/complete-lock.mjs
import { readFileSync, writeFileSync } from "node:fs"
import { dirname, join } from "node:path"
import { fileURLToPath } from "node:url"

const path = join(dirname(dirname(fileURLToPath(import.meta.url))), "package-lock.json")
const lock = JSON.parse(readFileSync(path, "utf8"))
const systems = ["android", "darwin", "linux", "win32", "freebsd", "openbsd"]
let added = 0
for (const [key, entry] of Object.entries(lock.packages)) {
  for (const [name, version] of Object.entries(entry.optionalDependencies ?? {})) {
    if (
      lock.packages[`node_modules/${name}`] !== undefined || lock.packages[`${key}/node_modules/${name}`] !== undefined
    ) continue
    const words = name.split(/[/-]/)
    const os = systems.find((system) => words.includes(system))
    const cpu = ["arm64", "arm", "x64", "ppc64", "riscv64", "loong64", "wasm32"].find((one) => words.includes(one))
    const libc = words.includes("musl")
      ? "musl"
      : os === "linux" && (words.includes("glibc") || words.includes("gnu"))
      ? "glibc"
      : undefined
    lock.packages[`node_modules/${name}`] = {
      version,
      ...cpu === undefined ? {} : { cpu: [cpu] },
      ...entry.dev === true ? { dev: true } : {},
      ...libc === undefined ? {} : { libc: [libc] },
      optional: true,
      ...os === undefined ? {} : { os: [os] }
    }
    added++
  }
}
const root = lock.packages[""]
delete lock.packages[""]
lock.packages = {
  "": root,
  ...Object.fromEntries(Object.entries(lock.packages).sort(([a], [b]) => a.localeCompare(b, "en")))
}
writeFileSync(path, `${JSON.stringify(lock, null, 2)}\n`)
console.error(`${added} packages of other platforms added`)
