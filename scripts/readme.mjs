// Writes the tables of README.md that come from the registries: node scripts/readme.mjs [--check] [FILE]
import { readFileSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { withTables } from "./tables.ts"

const isCheck = process.argv.includes("--check")
const path = process.argv.slice(2).find((arg) => arg !== "--check") ?? join(import.meta.dirname, "..", "README.md")
const before = readFileSync(path, "utf8")
const { problems, text } = withTables(before)
const found = isCheck && problems.length === 0 && text !== before
  ? ["a table is not what the registries say; run node scripts/readme.mjs"]
  : problems
for (const problem of found) console.error(`${path}: ${problem}`)
if (found.length > 0) process.exitCode = 1
else if (!isCheck) writeFileSync(path, text)
