import { NodeServices } from "@effect/platform-node"
import { assert, describe, it, layer } from "@effect/vitest"
import { Effect, Stream } from "effect"
import { ChildProcess } from "effect/process"
import { ChildProcessSpawner } from "effect/process/ChildProcessSpawner"
import { readFileSync } from "node:fs"
import { resolve } from "node:path"
import { stoppingText } from "../../src/cli/ProgressState.ts"
import { version } from "../../src/stage/Version.ts"

const source = (name: string) => resolve(import.meta.dirname, `../../src/${name}.ts`)
const bin = (name: string) => source(`bin/${name}`)

const start = (name: string) =>
  `process.on("exit", (code) => console.log("exit", code))\nawait import(${JSON.stringify(bin(name))})`

describe("version", () => {
  it("is that of the package", () => {
    const text = readFileSync(resolve(import.meta.dirname, "../../package.json"), "utf8")
    assert.strictEqual(JSON.parse(text).version, version)
  })
})

describe("entry files", () => {
  it.each(["llima-compile", "llima-compile-lora", "llima"])("%s imports nothing before it knows its Node", (name) => {
    const lines = readFileSync(bin(name), "utf8").split("\n")
    assert.strictEqual(lines[0], "#!/usr/bin/env node")
    assert.isAtMost(lines.length, 20)
    assert.deepStrictEqual(lines.filter((line) => /^\s*import\b/.test(line)), [])
    assert.include(lines.join("\n"), `${name} needs Node`)
  })
})

/** A compilation that never ends by itself; `cleanup` is what it does when it is stopped. */
const endless = (cleanup: string) => `
import { Console, Effect } from "effect"
import { compileCommand } from ${JSON.stringify(source("cli/Compile"))}
import { runProgram } from ${JSON.stringify(source("bin/node"))}
runProgram(compileCommand(() =>
  Console.log("ready").pipe(Effect.andThen(Effect.never), Effect.onInterrupt(() => ${cleanup}))
))`

layer(NodeServices.layer, { excludeTestServices: true })("a process", (it) => {
  const run = Effect.fnUntraced(function*(code: string, ...args: ReadonlyArray<string>) {
    const spawner = yield* ChildProcessSpawner
    return yield* spawner.string(
      ChildProcess.make(process.execPath, ["--input-type=module", "-e", code, "-", ...args]),
      { includeStderr: true }
    )
  })
  const asOld = `Object.defineProperty(process.versions, "node", { value: "20.20.0" })\n`
  it.effect("under an old Node says what it needs, and leaves with 2", () =>
    Effect.gen(function*() {
      const text = yield* run(asOld + start("llima-compile"), "--help")
      assert.strictEqual(text, "llima-compile needs Node 24 or newer; this is v20.20.0\nexit 2\n")
    }))

  it.effect("prints its version and leaves with 0", () =>
    Effect.gen(function*() {
      assert.strictEqual(yield* run(start("llima"), "--version"), `llima ${version}\nexit 0\n`)
    }), 20_000)

  it.effect("leaves with 2 after a usage error, which is on stderr", () =>
    Effect.gen(function*() {
      const text = yield* run(start("llima-compile-lora"), "base")
      assert.include(text, "error: LORA_PATH is missing")
      assert.include(text, "exit 2")
    }), 20_000)

  /** Sends Ctrl-C, or another signal, as soon as `ready` is seen, and again when `again` is; exit code and stderr. */
  const interrupted = Effect.fnUntraced(function*(
    code: string,
    again: string | undefined,
    signal: "SIGINT" | "SIGHUP" = "SIGINT",
    ...args: ReadonlyArray<string>
  ) {
    const spawner = yield* ChildProcessSpawner
    const child = yield* spawner.spawn(
      ChildProcess.make(process.execPath, ["--input-type=module", "-e", code, "-", "m", ...args])
    )
    const interrupt = Effect.sync(() => process.kill(child.pid, signal))
    let said = ""
    yield* child.stdout.pipe(Stream.runForEach(() => interrupt), Effect.forkScoped)
    yield* child.stderr.pipe(
      Stream.decodeText(),
      Stream.splitLines,
      Stream.runForEach((line) => {
        said += `${line}\n`
        return line === again ? interrupt : Effect.void
      })
    )
    return { code: yield* child.exitCode, said }
  }, Effect.scoped)

  it.effect("stopped by Ctrl-C cleans up, says how to go on, and leaves with 130", () =>
    Effect.gen(function*() {
      const { code, said } = yield* interrupted(endless("Console.error('cleaned')"), undefined)
      assert.strictEqual(
        said,
        `${stoppingText}\ncleaned\ninterrupted: finished steps are kept; run the same command with --resume to go on\n`
      )
      assert.strictEqual(Number(code), 130)
    }), 20_000)

  it.effect("stopped by a second Ctrl-C leaves at once", () =>
    Effect.gen(function*() {
      const { code, said } = yield* interrupted(endless("Effect.never"), stoppingText)
      assert.deepStrictEqual({ code: Number(code), said }, { code: 130, said: `${stoppingText}\n` })
    }), 20_000)

  it.effect("stopped by a terminal that goes away cleans up too", () =>
    Effect.gen(function*() {
      const { code, said } = yield* interrupted(endless("Console.error('cleaned')"), undefined, "SIGHUP")
      assert.match(said, /^cleaned\ninterrupted/)
      assert.strictEqual(Number(code), 130)
    }), 20_000)

  it.effect("says in JSON that it was stopped, where logs are JSON", () =>
    Effect.gen(function*() {
      const { said } = yield* interrupted(endless("Effect.void"), undefined, "SIGINT", "--log_format", "json")
      const messages = said.trim().split("\n").map((line) => JSON.parse(line).message)
      assert.deepStrictEqual(messages, [
        stoppingText,
        "interrupted: finished steps are kept; run the same command with --resume to go on"
      ])
    }), 20_000)

  /** `--help` on a stdout that fails. */
  const failing = (code: string) =>
    run(
      `process.stdout.write = () => { process.stdout.emit("error", Object.assign(new Error("lost"), { code: "${code}" })) }\n` +
        `process.on("exit", (code) => process.stderr.write("exit " + code))\nawait import(${
          JSON.stringify(bin("llima"))
        })`,
      "--help"
    )

  it.effect("ends quietly when its reader has gone", () =>
    Effect.gen(function*() {
      assert.strictEqual(yield* failing("EPIPE"), "exit 0")
    }), 20_000)

  it.effect("leaves with 7 and says so when stdout's disk is full", () =>
    Effect.gen(function*() {
      const text = "error: stdout cannot be written:"
      assert.strictEqual(yield* failing("ENOSPC"), `${text} no space left on its disk\nexit 7`)
      assert.strictEqual(yield* failing("EIO"), `${text} lost\nexit 1`)
    }), 20_000)
})
