import { assert, describe, it } from "@effect/vitest"
import { Effect, Schema } from "effect"
import { llimaCommand } from "../../src/cli/Llima.ts"
import { RunRequest } from "../../src/plan/Request.ts"
import { invoke, recorder } from "./invoke.ts"

const command = () => {
  const { asked, handle } = recorder<object>()
  return { asked, llima: llimaCommand({ plan: handle, run: handle, inspect: handle, verify: handle, report: handle }) }
}

describe("llima", () => {
  it.effect("plans with the options of llima-compile", () =>
    Effect.gen(function*() {
      const { asked, llima } = command()
      const outcome = yield* invoke(llima, ["plan", "models/m", "-j2", "--max_num_tokens", "64"])
      assert.deepStrictEqual(outcome, { code: 0, out: "", err: "" })
      const [first] = asked
      assert.nestedInclude(first, { "request.modelPath": "models/m", "request.output": "m", json: false })
      assert.nestedInclude(first, { "request.jobs": 2, "request.maxNumTokens": 64 })
      yield* invoke(llima, ["plan", "models/m", "--json"])
      assert.nestedInclude(asked[1], { "request.modelPath": "models/m", json: true })
      assert.include((yield* invoke(llima, ["plan", "m", "-j0"])).err, "error: --jobs is 0")
    }))

  it.effect("inspects a path", () =>
    Effect.gen(function*() {
      const { asked, llima } = command()
      yield* invoke(llima, ["inspect", "layer_0.tar.gz", "--json"])
      assert.deepStrictEqual(asked, [{ path: "layer_0.tar.gz", json: true }])
    }))

  it.effect("runs greedily unless told otherwise", () =>
    Effect.gen(function*() {
      const { asked, llima } = command()
      yield* invoke(llima, ["run", "out", "--prompt", "hi"])
      yield* invoke(llima, [
        ..."run out --chat --prompt hi --temperature 0.7 --top_k 40 --top_p 0.9 --seed -3 --max_new_tokens 5".split(
          " "
        ),
        ..."--ignore_eos --json --exact --lora sql --image cat.png --logits l.npy".split(" ")
      ])
      yield* invoke(llima, ["run", "out", "--chat"])
      yield* invoke(llima, ["run", "out", "--prompt_ids", "ids.json"])
      const greedy = {
        maxNewTokens: 128,
        ignoreEos: false,
        temperature: 0,
        topK: 0,
        topP: 1,
        seed: 0,
        json: false,
        exact: false
      }
      const none = { out: "out", image: undefined, lora: undefined, logits: undefined }
      assert.deepStrictEqual(asked, [
        { ...none, input: { kind: "text", text: "hi" }, ...greedy },
        {
          out: "out",
          input: { kind: "chat", message: "hi" },
          image: "cat.png",
          lora: "sql",
          maxNewTokens: 5,
          ignoreEos: true,
          temperature: 0.7,
          topK: 40,
          topP: 0.9,
          seed: -3,
          logits: "l.npy",
          json: true,
          exact: true
        },
        { ...none, input: { kind: "chat", message: undefined }, ...greedy },
        { ...none, input: { kind: "ids", file: "ids.json" }, ...greedy }
      ])
      for (const request of asked) assert.isTrue(Schema.is(RunRequest)(request))
    }))

  it.effect.each<readonly [string, string]>([
    ["", "nothing to start from; give --prompt TEXT, --prompt_ids FILE.json or --chat"],
    ["--prompt x --prompt_ids f", "--prompt_ids cannot be combined with --prompt or --chat"],
    ["--prompt x --max_new_tokens 0", "--max_new_tokens is 0; it must be at least 1"],
    ["--prompt x --temperature -1", "--temperature is -1; it must be 0 or more"],
    ["--prompt x --temperature 1 --top_p 0", "--top_p is 0; it must be above 0 and at most 1"],
    ["--prompt x --temperature 1 --top_k 0", "--top_k must be at least 1"],
    ["--prompt x --top_k 3 --seed 1", "--top_k, --seed: the likeliest token is taken unless --temperature is above 0"],
    ["--chat --json", "--json and --logits need a prompt; --chat alone is a conversation"],
    ["--prompt x --temperature hot", "--temperature cannot be \"hot\"; expected a number"]
  ])("refuses `run out %s`", ([line, message]) =>
    Effect.gen(function*() {
      const { asked, llima } = command()
      const args = ["run", "out", ...line.split(" ").filter((word) => word !== "")]
      assert.deepStrictEqual(yield* invoke(llima, args), {
        code: 2,
        out: "",
        err: `error: ${message}\nRun 'llima run --help' for usage.`
      })
      assert.deepStrictEqual(asked, [])
    }))

  it.effect.each(["-5 degrees is", "- one\n- two", "-o no", "--- x", "-5"])(
    "runs on from %j",
    (text) =>
      Effect.gen(function*() {
        const { asked, llima } = command()
        yield* invoke(llima, ["run", "out", "--prompt", text, "--json"])
        assert.deepInclude(asked[0], { input: { kind: "text", text }, json: true })
      })
  )

  it.effect("guesses a misspelt command", () =>
    Effect.gen(function*() {
      const { llima } = command()
      assert.strictEqual(
        (yield* invoke(llima, ["rnu"])).err,
        "error: unknown command rnu; did you mean run?\nRun 'llima --help' for usage."
      )
      const { code, out } = yield* invoke(llima, [])
      assert.strictEqual(code, 0)
      assert.include(out, "SUBCOMMANDS")
    }))

  it.effect("verifies a build, quickly unless asked otherwise", () =>
    Effect.gen(function*() {
      const { asked, llima } = command()
      yield* invoke(llima, ["verify", "out"])
      yield* invoke(llima, ["verify", "out", "full", "--model", "m", "--json"])
      assert.deepStrictEqual(asked, [
        { out: "out", mode: "quick", model: undefined, json: false },
        { out: "out", mode: "full", model: "m", json: true }
      ])
      assert.strictEqual((yield* invoke(llima, ["verify", "out", "slow"])).code, 2)
      assert.include((yield* invoke(llima, ["verify", "out", "--model", " "])).err, "error: --model is empty")
    }))

  it.effect("renders a report, beside the build unless told otherwise", () =>
    Effect.gen(function*() {
      const { asked, llima } = command()
      yield* invoke(llima, ["report", "out"])
      yield* invoke(llima, ["report", "out", "-o", "page.html"])
      assert.deepStrictEqual(asked, [{ out: "out", file: undefined }, { out: "out", file: "page.html" }])
      assert.include((yield* invoke(llima, ["report", "out", "-o", " "])).err, "error: --output is empty")
    }))

  it.effect("says that `serve` is not built yet", () =>
    Effect.gen(function*() {
      const { llima } = command()
      const { code, err } = yield* invoke(llima, ["serve", "out"])
      assert.strictEqual(code, 4)
      assert.match(err, /^error: llima serve is not built yet; /)
    }))
})
