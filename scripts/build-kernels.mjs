// Compiles src/quantize/kernel/assembly to WebAssembly and writes it, base64, as src/quantize/kernel/wasm.ts.
// node scripts/build-kernels.mjs [--out FILE]; the same sources and assemblyscript version give the same bytes (tested).
import { execFileSync } from "node:child_process"
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { dirname, join } from "node:path"
import { fileURLToPath } from "node:url"
import { parseArgs } from "node:util"

const root = dirname(dirname(fileURLToPath(import.meta.url)))
const { values } = parseArgs({
  options: { out: { type: "string", default: join(root, "src/quantize/kernel/wasm.ts") } }
})
const folder = mkdtempSync(join(tmpdir(), "kernels-"))
try {
  const file = join(folder, "kernels.wasm")
  execFileSync(process.execPath, [
    join(root, "node_modules/assemblyscript/bin/asc.js"),
    "src/quantize/kernel/assembly/index.ts",
    "-o",
    file,
    ..."--runtime stub --use abort= --noAssert -O3 --converge --enable simd".split(" ")
  ], { cwd: root, stdio: "inherit" })
  const bytes = readFileSync(file)
  const lines = bytes.toString("base64").match(/.{1,110}/g) ?? []
  writeFileSync(
    values.out,
    `// Made by scripts/build-kernels.mjs from ./assembly; ${bytes.length} bytes of WebAssembly. Do not edit.\n\n`
      + "/** The kernels, base64: embedded, so that no file has to be found at run time. */\n"
      + `export const wasm =\n${lines.map((line) => `  "${line}"`).join(" +\n")}\n`
  )
} finally {
  rmSync(folder, { recursive: true, force: true })
}
