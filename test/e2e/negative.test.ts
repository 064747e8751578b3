import { assert, describe, it, layer } from "@effect/vitest"
import { Effect, Schema } from "effect"
import { cpSync, existsSync, readdirSync, readFileSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { build, plan } from "../../src/cli/Build.ts"
import { compileCommand } from "../../src/cli/Compile.ts"
import { invoke } from "../cli/invoke.ts"
import { answer, filesOf, fixture, folder, model, opened, Platform } from "./Build.ts"

const Expected = Schema.Struct({
  verdict: Schema.Literals(["accept", "reject"]),
  mentions: Schema.optionalKey(Schema.Array(Schema.Array(Schema.String)))
})

const cases = readdirSync(fixture("negative")).map((name) => ({
  name,
  path: fixture(`negative/${name}`),
  ...Schema.decodeSync(Schema.fromJsonString(Expected))(
    readFileSync(join(fixture("negative"), name, "expected.json"), "utf8")
  )
}))
const rejected = cases.filter(({ verdict }) => verdict === "reject")

/** Cases that ask for what is sound but not supported; all others are broken. */
const unsupported = new Set([
  "config-unknown-quantization",
  "config-unknown-rope",
  "dtype-unknown",
  "unknown-architecture"
])

/** Wrong in a number, which only reading all of them shows. */
const inNumbers = new Set(["nan-weight"])

/** The text has a word of every group; the case's own path, which tells its name, does not count. */
const assertMentions = (text: string, { mentions = [], path }: (typeof cases)[number]) => {
  const shown = text.replaceAll(path, "").toLowerCase()
  for (const group of mentions) {
    assert.isTrue(group.some((word) => shown.includes(word.toLowerCase())), `${text}\nhas none of ${group.join(" | ")}`)
  }
}

const archivesOf = (out: string) => filesOf(out).filter((file) => file.endsWith(".tar.gz"))

describe("the cases", () => {
  it("are thirty, one of them sound", () => {
    assert.strictEqual(cases.length, 30)
    assert.deepStrictEqual(cases.filter(({ verdict }) => verdict === "accept").map(({ name }) => name), ["control"])
  })
})

describe("llima-compile", () => {
  layer(Platform, { excludeTestServices: true })((it) => {
    it.effect.each(rejected)(
      "refuses $name in one message, and leaves no archive of it",
      (example) =>
        Effect.gen(function*() {
          const out = join(yield* folder, "out")
          const { code, err, out: stdout } = yield* invoke(compileCommand(build), [example.path, "-o", out, "-j", "1"])
          assert.strictEqual(code, unsupported.has(example.name) ? 4 : 3, err)
          assertMentions(err, example)
          assert.notInclude(err, "This is a bug")
          assert.notMatch(err, /^\s+at /m)
          assert.strictEqual(stdout, "")
          if (inNumbers.has(example.name)) assert.notInclude(archivesOf(out), "sima_files/mpk/layer_1.tar.gz")
          else assert.isFalse(existsSync(out), "something was written before the model was looked at")
        }).pipe(Effect.scoped)
    )

    it.effect.each(rejected.filter(({ name }) => !inNumbers.has(name)))(
      "refuses $name in a dry run too",
      (example) =>
        Effect.gen(function*() {
          const out = join(yield* folder, "out")
          const { code, err } = yield* invoke(compileCommand((request) => plan({ request, json: false })), [
            example.path,
            "-o",
            out,
            "--dry_run"
          ])
          assert.strictEqual(code, unsupported.has(example.name) ? 4 : 3, err)
          assertMentions(err, example)
        }).pipe(Effect.scoped)
    )

    it.effect.each(["A_BF16_W_INT8", "A_BF16_W_INT4"])(
      "refuses NaN in a weight that is to be %s",
      (precision) =>
        Effect.gen(function*() {
          const root = yield* folder
          const [example] = cases.filter(({ name }) => name === "nan-weight")
          if (example === undefined) throw new Error("no case nan-weight")
          writeFileSync(
            join(root, "c.py"),
            `def get_layer_configuration(model, layer):\n    return {"precision": "${precision}"}\n`
          )
          const out = join(root, "out")
          const { code, err } = yield* invoke(compileCommand(build), [
            example.path,
            "-o",
            out,
            "-c",
            join(root, "c.py")
          ])
          assert.strictEqual(code, 3, err)
          assertMentions(err, example)
          // the first layer was finished before, and stays
          assert.include(err, "--resume")
          const finished = filesOf(join(out, ".llima/steps")).map((file) => decodeURIComponent(file))
          for (const stage of ["onnx", "quantize"]) assert.include(finished, `${stage}/layer_0.json`)
          assert.notInclude(archivesOf(out), "sima_files/mpk/layer_1.tar.gz")
        }).pipe(Effect.scoped)
    )

    it.effect.each<readonly [what: string, type: string | undefined, code: number, told: ReadonlyArray<string>]>([
      ["a missing model_type", undefined, 3, ["config.json: ", "model_type: expected the name of the model's family"]],
      ["gemma3 for a language model alone", "gemma3", 4, ["nearest: gemma3_text, whose tensors these are"]],
      ["tensors that the family does not read", "gemma", 4, [
        "tensors of the decoder have no place",
        "self_attn.q_norm.weight",
        "the files hold exactly the tensors of gemma3_text"
      ]]
    ])("refuses %s", ([, type, code, told]) =>
      Effect.gen(function*() {
        const source = join(yield* folder, "model")
        cpSync(model("gemma3-text"), source, { recursive: true })
        const config: Record<string, unknown> = JSON.parse(readFileSync(join(source, "config.json"), "utf8"))
        writeFileSync(join(source, "config.json"), JSON.stringify({ ...config, model_type: type }))
        const out = join(yield* folder, "out")
        const result = yield* invoke(compileCommand(build), [source, "-o", out])
        assert.strictEqual(result.code, code, result.err)
        for (const text of told) assert.include(result.err, text)
        assert.isFalse(existsSync(out))
      }).pipe(Effect.scoped))

    it.effect.each<readonly [name: string, advice: string]>([
      ["config-unknown-rope", "do not take it out; choose a checkpoint that has no such setting"],
      ["config-heads-not-divisible", "download config.json again from the model's page"]
    ])("says what to do about %s", ([name, advice]) =>
      Effect.gen(function*() {
        const args = [fixture(`negative/${name}`), "-o", join(yield* folder, "out")]
        const { err } = yield* invoke(compileCommand(build), args)
        assert.include(err, advice)
        // a type of GGUF files, which config.json cannot have
        assert.notInclude(err, "divided")
      }).pipe(Effect.scoped))

    it.effect.each(["inf", "nan"])("refuses %s in the embedding", (kind) =>
      Effect.gen(function*() {
        const root = yield* folder
        const source = join(root, "model")
        cpSync(fixture("negative/control"), source, { recursive: true })
        const file = join(source, "model.safetensors")
        const bytes = readFileSync(file)
        const length = Number(bytes.readBigUInt64LE(0))
        const header: Record<string, { data_offsets: [number, number] }> = JSON.parse(
          bytes.toString("utf8", 8, 8 + length)
        )
        const at = 8 + length + (header["model.embed_tokens.weight"]?.data_offsets[0] ?? 0)
        bytes.writeUInt16LE(kind === "inf" ? 0x7f80 : 0x7fc0, at + 2 * (16 * 3 + 5))
        writeFileSync(file, bytes)
        const out = join(root, "out")
        const { code, err } = yield* invoke(compileCommand(build), [source, "-o", out, "-j", "1"])
        assert.strictEqual(code, 3, err)
        assert.include(err, "model.embed_tokens.weight")
        assert.include(err, "[3, 5]")
        assert.deepStrictEqual(archivesOf(out), [])
      }).pipe(Effect.scoped))

    it.effect("takes the sound one, and it runs", () =>
      Effect.gen(function*() {
        const out = join(yield* folder, "out")
        const { code, err, out: stdout } = yield* invoke(compileCommand(build), [
          fixture("negative/control"),
          "-o",
          out
        ])
        assert.strictEqual(code, 0, err)
        assert.strictEqual(stdout, out)
        assert.strictEqual(archivesOf(out).length, 2)
        const { ids } = yield* answer(yield* opened(out), { ids: [5, 6], maxNewTokens: 4, ignoreEos: true })
        assert.strictEqual(ids.length, 4)
      }).pipe(Effect.scoped))
  })
})
