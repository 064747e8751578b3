import { NodeServices } from "@effect/platform-node"
import { assert, layer } from "@effect/vitest"
import { Effect, FileSystem } from "effect"
import { spawnSync } from "node:child_process"
import { withTables } from "../../scripts/tables.ts"

const root = `${import.meta.dirname}/../..`

const readme = Effect.flatMap(FileSystem.FileSystem, (fs) => fs.readFileString(`${root}/README.md`))

layer(NodeServices.layer)("README.md", (it) => {
  it.effect("has the tables that the registries give", () =>
    Effect.gen(function*() {
      const text = yield* readme
      assert.deepStrictEqual(withTables(text), { text, problems: [] })
    }))

  it.effect.each(["families", "precisions", "sources"])(
    "is not without its table of %s, and has it once",
    (name) =>
      Effect.gen(function*() {
        const text = yield* readme
        const block = new RegExp(`<!-- ${name}:[\\s\\S]*<!-- /${name} -->\n`)
        const expected = `expected one block from <!-- ${name}: … --> to <!-- /${name} -->, found `
        assert.deepStrictEqual(withTables(text.replace(block, "")).problems, [`${expected}none`])
        assert.deepStrictEqual(withTables(text.replace(`<!-- /${name} -->`, "")).problems, [`${expected}none`])
        assert.deepStrictEqual(withTables(text.replace(block, "$&$&")).problems, [`${expected}2`])
      })
  )

  it.effect("gets a table back that someone has changed", () =>
    Effect.gen(function*() {
      const text = yield* readme
      const changed = text.replace(/^\| GGUF file.*$/m, "| GGUF file | all | of it |")
      assert.notStrictEqual(changed, text)
      assert.strictEqual(withTables(changed).text, text)
    }))

  it.effect("fails its script's check where a table is missing or not what the registries say", () =>
    Effect.gen(function*() {
      const fs = yield* FileSystem.FileSystem
      const file = `${yield* fs.makeTempDirectoryScoped()}/README.md`
      const check = () => {
        const { status, stderr } = spawnSync(process.execPath, [`${root}/scripts/readme.mjs`, "--check", file])
        return `${status} ${stderr.toString().replaceAll(`${file}: `, "")}`
      }
      yield* fs.writeFileString(file, "# Without tables\n")
      assert.match(check(), /^1 expected one block from <!-- precisions: /)
      yield* fs.writeFileString(file, (yield* readme).replace("(default)", ""))
      assert.strictEqual(check(), "1 a table is not what the registries say; run node scripts/readme.mjs\n")
    }))
})
