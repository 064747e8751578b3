import { NodeServices } from "@effect/platform-node"
import { assert, describe, it, layer } from "@effect/vitest"
import { Effect, FileSystem, Path } from "effect"
import config from "../../rolldown.config.ts"
import { licences, licencesOf } from "../../scripts/licences.ts"

/** A folder of installed packages, by name: their files. */
const installed = Effect.fnUntraced(function*(packages: Readonly<Record<string, Readonly<Record<string, string>>>>) {
  const fs = yield* FileSystem.FileSystem
  const path = yield* Path.Path
  const root = yield* fs.makeTempDirectoryScoped()
  for (const [name, files] of Object.entries(packages)) {
    const folder = path.join(root, "node_modules", name)
    yield* fs.makeDirectory(folder, { recursive: true })
    for (const [file, text] of Object.entries(files)) yield* fs.writeFileString(path.join(folder, file), text)
  }
  return root
})

const described = (name: string, version: string) => JSON.stringify({ name, version, license: "MIT" })

layer(NodeServices.layer)("licencesOf", (it) => {
  it.effect("has name, version and text of each package that modules are of, once", () =>
    Effect.gen(function*() {
      const root = yield* installed({
        zebra: { "package.json": described("zebra", "1.2.3"), LICENSE: "do as you like\r\n" },
        "@scope/name": {
          "package.json": described("@scope/name", "4.5.6"),
          "LICENCE.md": "but name us",
          "NOTICE.txt": "us",
          "license.js": "no licence"
        },
        "zebra/node_modules/@scope/name": { "package.json": described("@scope/name", "4.5.6"), LICENSE: "the same" }
      })
      const text = licencesOf([
        `${root}/node_modules/zebra/lib/a.js?x`,
        `${root}/node_modules/zebra/b.js`,
        `${root}/node_modules/zebra/node_modules/@scope/name/index.js`,
        `${root}/node_modules/@scope/name/index.js`,
        `${root}/src/own.ts`
      ])
      const line = "-".repeat(72)
      assert.strictEqual(
        text.slice(text.indexOf(line)),
        `${line}\n@scope/name 4.5.6 (MIT)\n\nbut name us\n\nus\n\n${line}\nzebra 1.2.3 (MIT)\n\ndo as you like\n`
      )
    }))

  it.effect("fails where a package has no file of its licence", () =>
    Effect.gen(function*() {
      const root = yield* installed({ bare: { "package.json": described("bare", "1.0.0") } })
      assert.throws(
        () => licencesOf([`${root}/node_modules/bare/index.js`]),
        "bare 1.0.0 is bundled and has no file of"
      )
    }))
})

describe("rolldown.config.ts", () => {
  it("writes the licences of what it bundles", () => {
    assert.include(JSON.stringify(config), `"name":"${licences().name}"`)
  })
})
