// Writes the tables of README.md that come from the registries: node scripts/readme.mjs [--check]
import { readFileSync, writeFileSync } from "node:fs"
import { dirname, join } from "node:path"
import { fileURLToPath } from "node:url"
import { architectures } from "../src/arch/registry.ts"

const path = join(dirname(dirname(fileURLToPath(import.meta.url))), "README.md")
const families = [
  "| family | reads `model_type` |",
  "| --- | --- |",
  ...architectures.map(({ aliases, name }) =>
    `| ${name} | ${[name, ...aliases].map((type) => `\`${type}\``).join(", ")} |`
  )
].join("\n")
const before = readFileSync(path, "utf8")
const after = before.replace(
  /(<!-- families:[^>]*-->\n)[\s\S]*?(\n<!-- \/families -->)/,
  (_, open, close) => `${open}${families}${close}`
)
if (process.argv.includes("--check")) {
  if (after !== before) {
    console.error("README.md: the table of families is not what the registry says; run node scripts/readme.mjs")
    process.exit(1)
  }
} else writeFileSync(path, after)
