import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { mkdirSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { inspect } from "../../src/cli/Inspect.ts"
import { llimaCommand } from "../../src/cli/Llima.ts"
import { folder } from "../e2e/Build.ts"
import { invoke, recorder } from "./invoke.ts"

const { handle } = recorder<object>()
const llima = llimaCommand({ plan: handle, run: handle, inspect, verify: handle, report: handle })

describe("inspect", () => {
  it.live("says what it accepts where there is nothing that it knows", () =>
    Effect.gen(function*() {
      const root = yield* folder
      const archives = join(root, "mpk")
      const empty = join(root, "empty")
      mkdirSync(archives)
      mkdirSync(empty)
      writeFileSync(join(archives, "layer_0.tar.gz"), "")
      for (
        const [path, found] of [
          [join(root, "nope"), "no such file or folder"],
          [archives, "a folder of archives; name one of them: layer_0.tar.gz"],
          [empty, "an empty folder"]
        ] as const
      ) {
        assert.deepStrictEqual(yield* invoke(llima, ["inspect", path]), {
          code: 3,
          out: "",
          err: `error: ${path}: expected a model (a Hugging Face folder or a .gguf file), an archive (.tar.gz) ` +
            `or the output folder of a build, found ${found}`
        })
      }
    }).pipe(Effect.scoped))
})
