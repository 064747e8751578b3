// Packs the package as npm would, unpacks it beside this project's dependencies, and uses it as a stranger does: both entries from
// plain JavaScript (a tiny build on the mock target), the types from TypeScript, and the programs that package.json names.
import { execFileSync } from "node:child_process"
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync
} from "node:fs"
import { tmpdir } from "node:os"
import { dirname, join } from "node:path"
import { fileURLToPath } from "node:url"

const root = dirname(dirname(fileURLToPath(import.meta.url)))
const modules = join(root, "node_modules")
const folder = mkdtempSync(join(tmpdir(), "llima-package-"))
const started = performance.now()
const check = (holds, message) => {
  if (!holds) throw new Error(message)
}
const node = (args, options) =>
  execFileSync(process.execPath, args, {
    cwd: folder,
    encoding: "utf8",
    stdio: ["ignore", "pipe", "inherit"],
    ...options
  })

const module = `
import { NodeServices } from "@effect/platform-node"
import { Effect, Layer, References } from "effect"
import { Checkpoint, Compiler, CompileRequest, Runner, Target } from "llima-compile"
import { checkpoint, compilerTest, MockTarget } from "llima-compile/testing"

const program = Effect.gen(function*() {
  const modelPath = yield* checkpoint({ layers: 1 })
  const { config } = yield* Checkpoint.open(modelPath)
  const request = CompileRequest.make({ modelPath, output: "out", jobs: 1, quantizeEmbeddings: true, verify: "none" })
  const report = yield* (yield* Compiler).compile(request)
  const { facts } = yield* Target
  const calls = yield* (yield* MockTarget).calls
  return { family: config["model_type"], archives: report.archives, calls: calls.length, target: facts.name, runner: typeof Runner.open }
})
const answer = await Effect.runPromise(Effect.scoped(program).pipe(
  Effect.provide([compilerTest(MockTarget.layer()), Layer.succeed(References.MinimumLogLevel, "Warn")]),
  Effect.provide(NodeServices.layer)
))
console.log(JSON.stringify(answer))
`

try {
  // Its own output goes among that of the build.
  execFileSync("npm", ["pack", "--silent", "--pack-destination", folder], { cwd: root, stdio: ["ignore", 2, 2] })
  const filename = readdirSync(folder).find((name) => name.endsWith(".tgz"))
  mkdirSync(join(folder, "node_modules", "@effect"), { recursive: true })
  execFileSync("tar", ["-xzf", join(folder, filename), "-C", folder])
  const installed = join(folder, "node_modules", "llima-compile")
  execFileSync("mv", [join(folder, "package"), installed])
  const own = JSON.parse(readFileSync(join(installed, "package.json"), "utf8"))
  // What npm would install; nothing else of this project is in reach.
  for (const name of [...Object.keys(own.dependencies), "@types/node"]) {
    mkdirSync(dirname(join(folder, "node_modules", name)), { recursive: true })
    symlinkSync(join(modules, name), join(folder, "node_modules", name))
  }
  check(!existsSync(join(installed, "src")), "the package holds sources")
  const licences = join(installed, "dist", "bin", "THIRD_PARTY_LICENCES.txt")
  check(existsSync(licences), "the package holds no licences of what its programs bundle")
  const licensed = readFileSync(licences, "utf8")
  for (const name of ["effect", "@observablehq/plot", "d3-scale", "linkedom"]) {
    check(licensed.includes(`\n${name} `), `the programs bundle ${name}, and ${licences} does not name it`)
  }

  writeFileSync(join(folder, "package.json"), JSON.stringify({ type: "module" }))
  writeFileSync(join(folder, "use.mjs"), module)
  const answer = node(["use.mjs"]).trim()
  const expected = JSON.stringify({ family: "llama", archives: 1, calls: 6, target: "mock", runner: "function" })
  check(answer === expected, `expected ${expected}, found ${answer}`)

  writeFileSync(join(folder, "use.mts"), module)
  node([
    join(modules, ".bin", "tsc"),
    ..."--noEmit --strict --exactOptionalPropertyTypes --target es2024 --module nodenext --types node".split(" "),
    "use.mts"
  ], { stdio: "inherit" })

  const programs = Object.entries(own.bin ?? {})
  check(programs.length > 0, "package.json names no programs under bin")
  for (const [name, file] of programs) {
    check(existsSync(join(installed, file)), `bin ${name}: ${file} is not in the package`)
    check((statSync(join(installed, file)).mode & 0o111) !== 0, `bin ${name}: ${file} may not be executed`)
    const printed = node([join(installed, file), "--version"]).trim()
    check(printed.includes(own.version), `${name} --version: expected ${own.version}, found ${printed}`)
  }
  const bytes = statSync(join(folder, filename)).size
  console.log(
    `${filename}: ${(bytes / 1024).toFixed(0)} KiB, ${programs.length} programs, both entries work (${
      ((performance.now() - started) / 1000).toFixed(1)
    } s)`
  )
} finally {
  rmSync(folder, { recursive: true, force: true })
}
