// Writes src/devkit/pythonFiles.ts: the Python runtime as text, so that a bundle carries it. `--check` only compares.
import { readdirSync, readFileSync, writeFileSync } from "node:fs"
import { dirname, join } from "node:path"
import { fileURLToPath } from "node:url"

const root = dirname(dirname(fileURLToPath(import.meta.url)))
const folder = join(root, "src", "devkit", "python")
const target = join(root, "src", "devkit", "pythonFiles.ts")

const names = readdirSync(folder, { recursive: true, encoding: "utf8" })
  .map((name) => name.replaceAll("\\", "/"))
  .filter((name) => name.endsWith(".py"))
  .toSorted()
const file = (name) => {
  const lines = readFileSync(join(folder, name), "utf8").split("\n")
  return `  ${JSON.stringify(name)}: [\n${
    lines.map((line) => `    ${JSON.stringify(line)}`).join(",\n")
  }\n  ].join("\\n")`
}
const text = `// Made by scripts/embed-devkit.mjs from src/devkit/python; change those files, then run it.

/** The Python runtime, text by path below \`sima_files/devkit/\`. */
export const pythonFiles: Readonly<Record<string, string>> = {
${names.map(file).join(",\n")}
}
`
if (!process.argv.includes("--check")) writeFileSync(target, text)
else if (readFileSync(target, "utf8") !== text) {
  console.error("src/devkit/pythonFiles.ts is not what src/devkit/python says: run node scripts/embed-devkit.mjs")
  process.exit(1)
}
