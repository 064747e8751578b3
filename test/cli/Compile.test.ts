import { assert, describe, it } from "@effect/vitest"
import { Cause, Data, Effect, Runtime, Schema } from "effect"
import { CliError } from "effect/cli"
import { compileCommand } from "../../src/cli/Compile.ts"
import { compileLoraCommand } from "../../src/cli/CompileLora.ts"
import { NotBuilt } from "../../src/cli/NotBuilt.ts"
import { CompileRequest, stageFlags } from "../../src/plan/Request.ts"
import { invoke, recorder } from "./invoke.ts"

const usageHint = "\nRun 'llima-compile --help' for usage."
const asked = (args: ReadonlyArray<string>) =>
  Effect.gen(function*() {
    const { asked, handle } = recorder<CompileRequest>()
    const outcome = yield* invoke(compileCommand(handle), args)
    assert.deepStrictEqual(outcome, { code: 0, out: "", err: "" })
    const request = asked[0]
    return request === undefined ? yield* Effect.die("not handled") : request
  })
const refused = (args: ReadonlyArray<string>) =>
  Effect.gen(function*() {
    const { asked, handle } = recorder<CompileRequest>()
    const { code, err, out } = yield* invoke(compileCommand(handle), args)
    assert.deepStrictEqual({ code, out, asked }, { code: 2, out: "", asked: [] })
    assert.isTrue(err.endsWith(usageHint), err)
    return err.slice(0, -usageHint.length)
  })

describe("llima-compile", () => {
  it.effect("asks with the documented defaults", () =>
    Effect.gen(function*() {
      const { jobs, maxMemory, ...rest } = yield* asked(["./models/Llama-3.2-3B"])
      assert.isAtLeast(jobs, 1)
      assert.isAtLeast(maxMemory, 64 * 2 ** 20)
      assert.deepInclude(rest, {
        modelPath: "./models/Llama-3.2-3B",
        output: "Llama-3.2-3B",
        configurationFile: undefined,
        maxNumTokens: 1024,
        resume: false,
        imageHeight: undefined,
        imageWidth: undefined,
        languageGroupSize: 128,
        futureTokenMaskSize: 128,
        enableFilterSharing: false,
        quantizeEmbeddings: false,
        returnLogits: false,
        loras: [],
        stages: [...stageFlags],
        target: "host",
        python: undefined,
        dryRun: false,
        quality: "fast",
        verify: "quick",
        force: false,
        keepQuantized: "all",
        pack: "fast"
      })
    }))

  it.effect("takes every option, before and after the model, with attached values", () =>
    Effect.gen(function*() {
      const request = yield* asked([
        ..."--max_num_tokens 4096 -j4 -c=config.py --resume -oout m --input_height=448 --input_width 448".split(" "),
        ..."--language_group_size 256 --future_token_mask_size 64 --enable_filter_sharing --quantize_embeddings".split(
          " "
        ),
        ..."--return_logits --lora_name b --lora_path pb --lora_path pa --lora_name a --devkit --compile --dry_run"
          .split(" "),
        ..."--max_memory 1.5G --quality best --verify full --log_level DEBUG --force --keep none --pack best".split(
          " "
        ),
        ..."--python /usr/bin/python3 --target host".split(" ")
      ])
      assert.deepInclude(request, {
        modelPath: "m",
        output: "out",
        configurationFile: "config.py",
        maxNumTokens: 4096,
        resume: true,
        jobs: 4,
        imageHeight: 448,
        imageWidth: 448,
        languageGroupSize: 256,
        futureTokenMaskSize: 64,
        enableFilterSharing: true,
        quantizeEmbeddings: true,
        returnLogits: true,
        loras: [{ name: "b", path: "pb" }, { name: "a", path: "pa" }],
        stages: ["devkit", "compile"],
        python: "/usr/bin/python3",
        dryRun: true,
        maxMemory: 1_500_000_000,
        quality: "best",
        verify: "full",
        force: true,
        keepQuantized: "none",
        pack: "best"
      })
      // The library's schema and the command line agree.
      assert.deepStrictEqual(yield* Schema.decodeEffect(CompileRequest)(request), request)
    }))

  it.effect("names the output after the model, and never writes into the model", () =>
    Effect.gen(function*() {
      assert.strictEqual((yield* asked(["/models/tiny.Q4_0.gguf"])).output, "tiny.Q4_0")
      assert.strictEqual((yield* asked(["models/Llama/"])).output, "Llama")
      assert.strictEqual((yield* asked(["./Llama"])).output, "Llama_out")
      assert.strictEqual(
        yield* refused(["Llama", "-o", "./Llama/"]),
        "error: --output ./Llama/ is the model itself; name another folder"
      )
    }))

  it.effect("verifies by default only what runs here", () =>
    Effect.gen(function*() {
      assert.strictEqual((yield* asked(["m", "--target", "modalix"])).verify, "none")
      assert.strictEqual((yield* asked(["m", "--target", "modalix", "--verify", "none"])).verify, "none")
    }))

  it.effect.each<readonly [string, string]>([
    ["", "error: MODEL_PATH is missing"],
    ["m extra", "error: too many arguments: \"extra\""],
    ["m --max-num-tokens 4", "error: unknown option --max-num-tokens; did you mean --max_num_tokens?"],
    ["m --no-resume", "error: unknown option --no-resume"],
    ["m --jobs x", "error: --jobs cannot be \"x\"; expected a whole number"],
    ["m --jobs 2.5", "error: --jobs cannot be \"2.5\"; expected a whole number"],
    ["m -j", "error: --jobs needs a value"],
    ["m -j --resume", "error: --jobs needs a value"],
    [
      "m --lora_name --resume",
      "error: --lora_name needs a value; one that begins with \"-\" is given as --lora_name='…'"
    ],
    ["-j m -o out", "error: MODEL_PATH is missing; -j took \"m\""],
    ["--target m", "error: MODEL_PATH is missing; --target took \"m\""],
    ["-o m -c=c.py -j 2", "error: MODEL_PATH is missing; -o took \"m\""],
    ["m --foo", "error: unknown option --foo"],
    ["m -j 3 -j 4", "error: --jobs is given more than once; give it once"],
    ["m --resume --resume", "error: --resume is given more than once; give it once"],
    ["m -j0", "error: --jobs is 0; it must be 1 to 1024 jobs"],
    ["m --max_num_tokens -4", "error: --max_num_tokens is -4; it must be 1 to 16777216 tokens"],
    ["m --language_group_size 0", "error: --language_group_size is 0; it must be 1 to 65536 tokens"],
    ["m --future_token_mask_size 0", "error: --future_token_mask_size is 0; it must be 1 to 65536 tokens"],
    ["m --max_memory 4X", "error: --max_memory cannot be \"4X\"; expected a size like 4GB, 512MiB or 1.5G"],
    ["m --max_memory 1MiB", "error: --max_memory is 1.00 MiB; it must be 192 MiB to 1024 TiB"],
    [
      "m --log_level debug",
      "error: --log_level cannot be \"debug\"; expected \"DEBUG\" | \"INFO\" | \"WARNING\" | \"ERROR\""
    ],
    ["m --target tpu", "error: --target cannot be \"tpu\"; expected \"host\" | \"modalix\" | \"mock\""],
    ["m --output=", "error: --output is empty"],
    ["m --input_height 448", "error: --input_height and --input_width belong together; give both"],
    ["m --input_height 0 --input_width 3", "error: --input_height is 0; it must be 1 to 16384 pixels"],
    [
      "m --lora_name a --enable_filter_sharing",
      "error: 1 --lora_name and 0 --lora_path; give one of each for every adapter"
    ],
    ["m --lora_name a --lora_path p", "error: --lora_name and --lora_path: LoRA needs --enable_filter_sharing; add it"],
    ["m --lora_rank 8", "error: --lora_rank: LoRA needs --enable_filter_sharing; add it"],
    [
      "m --lora_name a --lora_path p --lora_name a --lora_path q --enable_filter_sharing",
      "error: --lora_name a is given twice; each adapter needs a name of its own"
    ],
    [
      "m --lora_name ../a --lora_path p --enable_filter_sharing",
      "error: --lora_name \"../a\": a name has letters, digits, \".\", \"_\" or \"-\", and no more than 64"
    ],
    ["m --python python3", "error: --python runs a configuration file; give one with -c"],
    ["m --python python3 -c rules.json", "error: --python is for Python files, and -c names a .json file"],
    [
      "m --target modalix --verify full",
      "error: --verify full runs the programs here, and --target modalix makes none that can; use --target host or --verify none"
    ],
    [
      "m -j0 --python x",
      "error: --jobs is 0; it must be 1 to 1024 jobs\nerror: --python runs a configuration file; give one with -c"
    ]
  ])("refuses `%s`", ([line, message]) =>
    Effect.gen(function*() {
      assert.strictEqual(yield* refused(line.split(" ").filter((word) => word !== "")), message)
    }))

  it.effect("refuses a wrong command line in JSON where logs are", () =>
    Effect.gen(function*() {
      const { handle } = recorder<CompileRequest>()
      const { code, err } = yield* invoke(compileCommand(handle), ["--log_format", "json", "--foo"])
      assert.strictEqual(code, 2)
      const lines = err.split("\n").map((line) => JSON.parse(line))
      assert.deepStrictEqual(lines.map(({ message }) => message), ["unknown option --foo"])
      assert.deepInclude(lines[0], { level: "ERROR", annotations: { exitCode: 2 } })
    }))

  it.effect("takes values that begin with a dash, where they are no option", () =>
    Effect.gen(function*() {
      assert.strictEqual((yield* asked(["m", "-o", "-5 degrees"])).output, "-5 degrees")
      assert.strictEqual((yield* asked(["-o", "x", "--", "-m"])).modelPath, "-m")
    }))

  it.effect("leaves it to the work to say what is wrong with a path", () =>
    Effect.gen(function*() {
      const { configurationFile, output } = yield* asked(["m", "-o", "package.json", "-c", "src"])
      assert.deepStrictEqual({ configurationFile, output }, { configurationFile: "src", output: "package.json" })
    }))

  it.effect("explains every option with its default", () =>
    Effect.gen(function*() {
      const { code, err, out } = yield* invoke(compileCommand(recorder<CompileRequest>().handle), ["--help"])
      assert.deepStrictEqual({ code, err }, { code: 0, err: "" })
      const documented: Readonly<Record<string, string>> = {
        "--output, -o": "the model's name",
        "--configuration_file, -c": "BF16 everywhere",
        "--max_num_tokens": "1024",
        "--resume": "off",
        "--jobs, -j": "physical cores",
        "--log_level": "WARNING",
        "--log_format": "text",
        "--input_height": "none",
        "--input_width": "none",
        "--language_group_size": "128",
        "--future_token_mask_size": "128",
        "--enable_filter_sharing": "off",
        "--quantize_embeddings": "off",
        "--return_logits": "off",
        "--lora_name": "none",
        "--lora_path": "none",
        "--lora_rank": "the largest adapter's",
        "--devkit": "all stages",
        "--onnx": "all stages",
        "--quantize": "all stages",
        "--model_sdk": "all stages",
        "--compile": "all stages",
        "--target": "host",
        "--python": "the sandbox",
        "--dry_run": "off",
        "--max_memory": "half of what is free",
        "--quality": "fast",
        "--verify": "quick",
        "--force": "off",
        "--keep": "all",
        "--pack": "fast"
      }
      const lines = out.split("\n")
      for (const [flag, standard] of Object.entries(documented)) {
        const line = lines.find((line) => line.trim().startsWith(`${flag} `))
        assert.include(line, `[default: ${standard}`, flag)
      }
      const shown = lines.filter((line) => /^ {2}--(?!help|version|completions)/.test(line))
      assert.strictEqual(shown.length, Object.keys(documented).length)
      assert.include(out, "EXAMPLES")
    }))

  it.effect("prints its version, and completions for shells", () =>
    Effect.gen(function*() {
      const command = compileCommand(recorder<CompileRequest>().handle)
      assert.strictEqual((yield* invoke(command, ["--version"])).out, "llima-compile 9.9.9")
      for (const shell of ["bash", "zsh", "fish"]) {
        const { code, out } = yield* invoke(command, ["--completions", shell])
        assert.strictEqual(code, 0)
        assert.include(out, "max_num_tokens", shell)
      }
    }))
})

class Foreseen extends Schema.TaggedError<Foreseen>()("Foreseen", {}) {
  override readonly [Runtime.errorExitCode] = 5
  override get [CliError.userMessage]() {
    return "layer 3: the target failed"
  }
}

const failing = (cause: Cause.Cause<unknown>, ...args: ReadonlyArray<string>) =>
  invoke(compileCommand(() => Effect.failCause(cause)), ["m", ...args])

describe("failures", () => {
  it.effect("are told in the error's own words, with its exit code", () =>
    Effect.gen(function*() {
      assert.deepStrictEqual(yield* failing(Cause.fail(new Foreseen())), {
        code: 5,
        out: "",
        err: "error: layer 3: the target failed"
      })
    }))

  it.effect("are one JSON object when logs are", () =>
    Effect.gen(function*() {
      const { code, err } = yield* failing(Cause.fail(new Foreseen()), "--log_format", "json")
      assert.strictEqual(code, 5)
      assert.deepInclude(JSON.parse(err), { message: "layer 3: the target failed", level: "ERROR" })
      assert.deepInclude(JSON.parse(err).annotations, { exitCode: 5, bug: false })
    }))

  it.effect("that nobody foresaw are one line and a hint; DEBUG shows the cause", () =>
    Effect.gen(function*() {
      const defect = Cause.die(new RangeError("bad index\nmore"))
      assert.deepStrictEqual(yield* failing(defect), {
        code: 1,
        out: "",
        err: "error: RangeError: bad index\n" +
          "This is a bug in the compiler. Run again with --log_level DEBUG to see where it comes from, and report it."
      })
      const { err } = yield* failing(defect, "--log_level", "DEBUG")
      assert.match(err, /^error: RangeError: bad index\nDEBUG: \nRangeError: bad index/)
      assert.include(err, "Compile.test.ts")
    }))

  it.effect("without a text of their own count as bugs", () =>
    Effect.gen(function*() {
      class Plain extends Data.TaggedError("Plain")<{}> {}
      assert.include((yield* failing(Cause.fail(new Plain()))).err, "This is a bug")
    }))

  it.effect("of interruption say how to go on", () =>
    Effect.gen(function*() {
      const outcome = yield* failing(Cause.interrupt())
      assert.deepStrictEqual(outcome, {
        code: 130,
        out: "",
        err: "interrupted: finished steps are kept; run the same command with --resume to go on"
      })
    }))
})

describe("llima-compile-lora", () => {
  const refuse = compileLoraCommand(() => Effect.fail(new NotBuilt({ command: "llima-compile-lora", instead: "wait" })))

  it.effect("asks with the adapter's name as output", () =>
    Effect.gen(function*() {
      const { asked, handle } = recorder<object>()
      yield* invoke(compileLoraCommand(handle), ["base", "adapters/sql", "-w", "out/mpk"])
      yield* invoke(compileLoraCommand(handle), ["base", "./sql", "-wout/mpk"])
      assert.deepStrictEqual(asked, [
        { basePath: "base", loraPath: "adapters/sql", weightMapPath: "out/mpk", output: "sql" },
        { basePath: "base", loraPath: "./sql", weightMapPath: "out/mpk", output: "sql_out" }
      ])
    }))

  it.effect("needs its folders, and says so", () =>
    Effect.gen(function*() {
      const hint = "\nRun 'llima-compile-lora --help' for usage."
      assert.deepStrictEqual(yield* invoke(refuse, ["base", "lora"]), {
        code: 2,
        out: "",
        err: `error: --weight_map_path is required${hint}`
      })
      assert.deepStrictEqual(yield* invoke(refuse, ["base", "-w", "x"]), {
        code: 2,
        out: "",
        err: `error: LORA_PATH is missing; -w took "x"${hint}`
      })
      assert.deepStrictEqual(yield* invoke(refuse, ["", "l", "-w", "x"]), {
        code: 2,
        out: "",
        err: `error: BASE_PATH is empty${hint}`
      })
    }))

  it.effect("refuses with 4 what is not built yet", () =>
    Effect.gen(function*() {
      assert.deepStrictEqual(yield* invoke(refuse, ["base", "lora", "-w", "x"]), {
        code: 4,
        out: "",
        err: "error: llima-compile-lora is not built yet; wait"
      })
    }))
})
