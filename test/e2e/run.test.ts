import { assert, describe, layer } from "@effect/vitest"
import { Context, Effect, Layer, Schema } from "effect"
import { spawnSync } from "node:child_process"
import { existsSync, readFileSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { vi } from "vitest"
import { build, plan } from "../../src/cli/Build.ts"
import { compileCommand } from "../../src/cli/Compile.ts"
import { generate } from "../../src/cli/Generate.ts"
import { llimaCommand } from "../../src/cli/Llima.ts"
import { json, readCase } from "../arch/Case.ts"
import { invoke } from "../cli/invoke.ts"
import { folder, model, Platform } from "./Build.ts"

const name = "qwen3"
const example = readCase(name)
const expected: {
  readonly chat: { readonly messages: ReadonlyArray<{ readonly content: string }> }
  readonly prompts: { readonly long: { readonly text: string; readonly new_text: string } }
} = json(join(example.path, "expected/expected.json"))
const { ids, new_ids } = example.prompts.long

const llima = llimaCommand({
  plan,
  run: generate,
  inspect: () => Effect.void,
  verify: () => Effect.void,
  report: () => Effect.void
})

/** Lines of a plan without the free space of the disk, which may change from one to the next. */
const steady = (text: string) => text.split("\n").filter((line) => !line.toLowerCase().includes("free"))

/** A build that the program made, and a folder for what a test writes. */
class Built extends Context.Service<Built, { readonly root: string; readonly out: string }>()("test/e2e/Built") {}

const built = Layer.effect(
  Built,
  Effect.gen(function*() {
    const root = yield* folder
    vi.stubEnv("LLIMA_CACHE", join(root, "cache"))
    const out = join(root, "out")
    const options = ["-o", out, "--max_num_tokens", "96", "--language_group_size", "16"]
    const { code, err } = yield* invoke(compileCommand(build), [model(name), ...options])
    assert.strictEqual(code, 0, err)
    writeFileSync(join(root, "ids.json"), JSON.stringify(ids))
    return { root, out }
  })
).pipe(Layer.provideMerge(Platform))

const Answer = Schema.fromJsonString(Schema.Struct({
  prompt_ids: Schema.Array(Schema.Int),
  ids: Schema.Array(Schema.Int),
  text: Schema.String,
  stop: Schema.String,
  timings: Schema.Struct({ loadSeconds: Schema.Finite, promptTokens: Schema.Int, newTokens: Schema.Int })
}))

describe("llima run", () => {
  layer(built, { excludeTestServices: true })((it) => {
    const run = Effect.fnUntraced(function*(...args: ReadonlyArray<string>) {
      const { out } = yield* Built
      const { code, err, out: stdout } = yield* invoke(llima, ["run", out, "--json", "--exact", ...args])
      assert.strictEqual(code, 0, err)
      return yield* Schema.decodeEffect(Answer)(stdout)
    })

    it.effect("--prompt_ids --logits gives the reference's ids and writes its logits", () =>
      Effect.gen(function*() {
        const { root } = yield* Built
        const file = join(root, "logits.npy")
        const found = yield* run(
          "--prompt_ids",
          join(root, "ids.json"),
          "--logits",
          file,
          "--max_new_tokens",
          String(new_ids.length),
          "--ignore_eos"
        )
        assert.deepStrictEqual(found.prompt_ids, [...ids])
        assert.deepStrictEqual(found.ids, [...new_ids])
        assert.strictEqual(found.stop, "length")
        assert.strictEqual(found.timings.promptTokens, ids.length)
        assert.strictEqual(found.timings.newTokens, new_ids.length)
        const bytes = readFileSync(file)
        const { data, shape } = example.array("logits_long")
        assert.include(bytes.toString("latin1", 0, 128), `(${shape.join(", ")})`)
        const logits = new Float32Array(bytes.buffer.slice(bytes.byteOffset + bytes.length - 4 * data.length))
        assert.strictEqual(logits.length, data.length)
        assert.isAtMost(Math.max(...logits.map((value, i) => Math.abs(value - (data[i] ?? NaN)))), example.tolerance)
      }))

    it.effect("--prompt makes the same of the text, and ends at the model's end token", () =>
      Effect.gen(function*() {
        const { text } = expected.prompts.long
        const found = yield* run("--prompt", text, "--max_new_tokens", "24")
        assert.deepStrictEqual(found.prompt_ids, [...ids])
        // 300 and 302 end an answer (generation_config.json)
        const end = new_ids.findIndex((id) => id === 300 || id === 302)
        assert.deepStrictEqual(found.ids, end < 0 ? [...new_ids] : new_ids.slice(0, end + 1))
        assert.strictEqual(found.stop, end < 0 ? "length" : "eos")
      }))

    it.effect("--chat --prompt asks by the template", () =>
      Effect.gen(function*() {
        const question = expected.chat.messages.at(-1)?.content ?? ""
        const plain = yield* run("--prompt", question, "--max_new_tokens", "1")
        const asked = yield* run("--chat", "--prompt", question, "--max_new_tokens", "1")
        assert.isAbove(asked.prompt_ids.length, plain.prompt_ids.length)
        assert.include(asked.prompt_ids, 301)
      }))

    it.effect("says which file is missing or wrong, and leaves with 3", () =>
      Effect.gen(function*() {
        const { out, root } = yield* Built
        writeFileSync(join(root, "wrong.json"), "{\"ids\": 1}")
        for (
          const [args, file] of [
            [[out, "--prompt_ids", join(root, "none.json")], "none.json"],
            [[out, "--prompt_ids", join(root, "wrong.json")], "wrong.json"],
            [[root, "--prompt", "a"], "runtime.json"],
            // before a build is opened
            [[root, "--prompt", "a", "--logits", join(root, "none", "x.npy")], "x.npy"],
            [[root, "--prompt", "a", "--logits", root], "found a folder"]
          ] as const
        ) {
          const { code, err, out: stdout } = yield* invoke(llima, ["run", ...args])
          assert.strictEqual(code, 3, err)
          assert.include(err, file)
          assert.strictEqual(stdout, "")
        }
      }))

    it.effect("says how fast it was in the form of the log, and nothing at ERROR", () =>
      Effect.gen(function*() {
        const { out } = yield* Built
        const told = Effect.fnUntraced(function*(...args: ReadonlyArray<string>) {
          const { code, err } = yield* invoke(llima, ["run", out, "--prompt", "a", "--max_new_tokens", "1", ...args])
          assert.strictEqual(code, 0)
          return err
        })
        assert.match(yield* told(), /^loaded in /)
        assert.strictEqual(yield* told("--log_level", "ERROR"), "")
        const { level, message } = JSON.parse(yield* told("--log_format", "json", "--log_level", "INFO"))
        assert.strictEqual(level, "INFO")
        assert.match(message, /^loaded in /)
      }))

    it.effect("as a process has the text alone on stdout, and speeds on stderr", () =>
      Effect.gen(function*() {
        const { out } = yield* Built
        const program = join(import.meta.dirname, "../../src/bin/llima.ts")
        const args = [
          "run",
          out,
          "--exact",
          "--prompt",
          expected.prompts.long.text,
          "--ignore_eos",
          "--max_new_tokens",
          "24"
        ]
        const { status, stderr, stdout } = spawnSync(process.execPath, [program, ...args], { encoding: "utf8" })
        assert.strictEqual(status, 0, stderr)
        const plain = yield* run("--prompt", expected.prompts.long.text, "--ignore_eos", "--max_new_tokens", "24")
        assert.strictEqual(stdout, `${plain.text}\n`)
        assert.isAbove(plain.text.length, 5)
        assert.match(stderr, /tokens\/s/)
      }), 20_000)
  })
})

describe("llima plan", () => {
  layer(Platform, { excludeTestServices: true })((it) => {
    it.effect("prints what --dry_run prints, and writes nothing", () =>
      Effect.gen(function*() {
        const out = join(yield* folder, "out")
        const planned = yield* invoke(llima, ["plan", model(name), "-o", out, "--max_memory", "1GB"])
        const dry = yield* invoke(compileCommand(build), [model(name), "-o", out, "--max_memory", "1GB", "--dry_run"])
        assert.strictEqual(planned.code, 0, planned.err)
        assert.deepStrictEqual(steady(planned.out), steady(dry.out))
        assert.isAbove(steady(planned.out).length, 8)
        assert.isFalse(existsSync(out))
      }).pipe(Effect.scoped))
  })
})
