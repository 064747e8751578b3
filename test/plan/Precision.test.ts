import { NodeServices } from "@effect/platform-node"
import { assert, describe, it, layer } from "@effect/vitest"
import { Duration, Effect, FileSystem, Logger, Path, Result } from "effect"
import { decoderPrograms as programsOf, type Program } from "../../src/plan/Parts.ts"
import { choiceOf, evaluate, readChoice, sharingConflicts } from "../../src/plan/Precision.ts"
import { runSandboxed } from "../../src/plan/PythonConfig.ts"
import { runInterpreter } from "../../src/plan/PythonProcess.ts"

const python = "python3"
const decoderPrograms = (layers: number) => programsOf(Array.from({ length: layers }, () => ({ kind: "attention" })))
const vision: Program = { part: "VISION", isGroup: false, index: 0 }

const written = Effect.fnUntraced(function*(text: string, name = "config.py") {
  const fs = yield* FileSystem.FileSystem
  const path = yield* Path.Path
  const file = path.join(yield* fs.makeTempDirectoryScoped(), name)
  yield* fs.writeFileString(file, text)
  return file
})

const answer = (
  text: string,
  layers: number,
  options: { python?: string; name?: string; programs?: ReadonlyArray<Program> } = {}
) =>
  Effect.gen(function*() {
    const configurationFile = yield* written(text, options.name)
    return yield* evaluate(
      { configurationFile, python: options.python },
      layers,
      options.programs ?? decoderPrograms(layers)
    )
  })

const table = (...given: Parameters<typeof answer>) => Effect.map(answer(...given), (found) => found.table)

/** The error's text with the folder of the file taken away. */
const failure = (text: string, layers: number, options: { python?: string; name?: string } = {}) =>
  Effect.map(
    Effect.flip(table(text, layers, options)),
    (error) => error.message.replaceAll(/\S*\/(?=(config|rules)\.)/g, "")
  )

/** What is said of a file that cannot be a configuration file. */
const refused = (configurationFile: string) =>
  Effect.map(Effect.flip(evaluate({ configurationFile }, 1, decoderPrograms(1))), ({ message }) => message)

const json = (value: unknown) => ({ text: JSON.stringify(value), name: "rules.json" })

const visionByPhase = `
NAMES = {"prefill": "A_BF16_W_INT8", "decode": "A_BF16_W_INT4"}

def get_layer_configuration(model_properties, layer):
    if layer["part"] == "VISION":
        return {"precision": "BF16"}
    return {"precision": NAMES["prefill" if layer["is_group"] else "decode"]}
`
const byIndex = `
def get_layer_configuration(model_properties, layer):
    where = layer["index"]
    if layer["part"] == "CACHE" and where > 20:
        return {"compile": False}
    return {"precision": "BF16" if where < 4 else "A_BF16_W_INT8"}
`
const branches = `
def get_layer_configuration(model_properties, layer):
    bits = 8 if layer["is_group"] else 4
    return {"precision": f"A_BF16_W_INT{bits}", "compile": True, "lora": "LORA_BRANCH"}
`
const always = (body: string) => `def get_layer_configuration(model_properties, layer):\n    ${body}\n`

layer(NodeServices.layer, { excludeTestServices: true })("evaluate", (it) => {
  it.effect("gives BF16 to every program when there is no file (simple model, longer context)", () =>
    Effect.gen(function*() {
      const { table: result } = yield* evaluate({}, 2, decoderPrograms(2))
      assert.strictEqual(result.length, 12)
      assert.isTrue(result.every(({ choice }) => choice.precision === "BF16" && choice.compile))
    }))

  it.effect("keeps vision whole and splits prefill from decode", () =>
    Effect.gen(function*() {
      const result = yield* table(visionByPhase, 2, { programs: [...decoderPrograms(2), vision] })
      assert.strictEqual(choiceOf(result, "VISION", false, 0).precision, "BF16")
      assert.strictEqual(choiceOf(result, "POST", true, 1).precision, "A_BF16_W_INT8")
      assert.strictEqual(choiceOf(result, "POST", false, 1).precision, "A_BF16_W_INT4")
    }))

  it.effect("skips what is not to be compiled and tells layers apart", () =>
    Effect.gen(function*() {
      const result = yield* table(byIndex, 24)
      assert.deepStrictEqual(choiceOf(result, "CACHE", true, 21), {
        precision: undefined,
        compile: false,
        lora: "LORA_DISABLED"
      })
      assert.strictEqual(choiceOf(result, "CACHE", true, 20).precision, "A_BF16_W_INT8")
      assert.strictEqual(choiceOf(result, "PRE", false, 3).precision, "BF16")
      assert.strictEqual(choiceOf(result, "PRE", false, 4).precision, "A_BF16_W_INT8")
    }))

  it.effect("reads LoRA modes", () =>
    Effect.gen(function*() {
      const result = yield* table(branches, 1)
      assert.deepStrictEqual(choiceOf(result, "PRE", false, 0), {
        precision: "A_BF16_W_INT4",
        compile: true,
        lora: "LORA_BRANCH"
      })
    }))

  it.effect("runs the module's own code once, and gives it the model's layers", () =>
    Effect.gen(function*() {
      const result = yield* table(
        `from __future__ import annotations\nimport re, math\nfrom typing import Any\ncalls = []\n` +
          `def get_layer_configuration(model_properties: dict[str, Any], layer: dict[str, Any]) -> dict[str, Any]:\n` +
          `    calls.append(layer)\n    last = layer["index"] == model_properties["num_hidden_layers"] - 1\n` +
          `    return {"precision": "BF16" if last or len(calls) == 2 else "A_BF16_W_INT8"}\n` +
          `if __name__ == "__main__":\n    raise ValueError("run as a script")\n`,
        3
      )
      assert.strictEqual(choiceOf(result, "PRE", true, 0).precision, "A_BF16_W_INT8")
      assert.strictEqual(choiceOf(result, "CACHE", true, 0).precision, "BF16")
      assert.strictEqual(choiceOf(result, "POST", false, 2).precision, "BF16")
    }))

  it.effect("gives the same table by a real interpreter", () =>
    Effect.forEach([byIndex, branches, visionByPhase], (text) =>
      Effect.gen(function*() {
        const programs = [...decoderPrograms(24), vision]
        assert.deepStrictEqual(yield* table(text, 24, { python, programs }), yield* table(text, 24, { programs }))
      })))

  for (const options of [{}, { python }]) {
    const where = "python" in options ? "by a real interpreter" : "in the sandbox"
    it.effect(`names an unknown key with the valid ones, ${where}`, () =>
      Effect.gen(function*() {
        assert.strictEqual(
          yield* failure(`\n${always(`return {"precison": "BF16"}`)}`, 1, options),
          "config.py:2: unknown key\n" +
            "  in get_layer_configuration({\"num_hidden_layers\": 1}, {\"part\": \"PRE\", \"is_group\": True, \"index\": 0})\n" +
            "  expected one of precision, compile, lora\n  found \"precison\""
        )
      }))

    it.effect(`shows a user's exception with its line and arguments, ${where}`, () =>
      Effect.gen(function*() {
        const text = always(
          `n = layer["index"]\n    if n == 1 and layer["part"] == "POST":\n        raise ValueError("odd " + str(n))\n    return {"precision": "BF16"}`
        )
        assert.strictEqual(
          yield* failure(text, 2, options),
          "config.py:4: ValueError: odd 1\n    raise ValueError(\"odd \" + str(n))\n" +
            "  in get_layer_configuration({\"num_hidden_layers\": 2}, {\"part\": \"POST\", \"is_group\": True, \"index\": 1})"
        )
      }))

    it.effect(`shows the line of an exception outside the function, ${where}`, () =>
      Effect.gen(function*() {
        assert.strictEqual(
          yield* failure("x = 1\ny = x / 0\n", 1, options),
          "config.py:2: ZeroDivisionError: division by zero\n    y = x / 0"
        )
      }))

    it.effect(`shows the line of a syntax error, ${where}`, () =>
      Effect.gen(function*() {
        assert.match(yield* failure("a = 1\nb = \nc = 2\n", 1, options), /^config\.py:2: SyntaxError: /)
      }))

    it.effect(`says that the function is not there, ${where}`, () =>
      Effect.gen(function*() {
        assert.strictEqual(
          yield* failure("def get_layer_config(a, b):\n    pass\n", 1, options),
          "config.py: defines no get_layer_configuration(model_properties, layer)"
        )
      }))
  }

  it.effect.each<readonly [string, string, string, string]>([
    [`return {"precision": "INT4"}`, "wrong \"precision\"", "one of BF16, A_BF16_W_INT8, A_BF16_W_INT4", "\"INT4\""],
    [`return {"precision": None}`, "wrong \"precision\"", "one of BF16, A_BF16_W_INT8, A_BF16_W_INT4", "None"],
    [
      `return {"precision": "BF16", "lora": "on"}`,
      "wrong \"lora\"",
      "one of LORA_DISABLED, LORA_BRANCH, LORA_MERGED",
      "\"on\""
    ],
    [`return {"precision": "BF16", "compile": 1}`, "wrong \"compile\"", "True or False", "1"],
    [
      `return {"compile": True}`,
      "no \"precision\"",
      "\"precision\" (one of BF16, A_BF16_W_INT8, A_BF16_W_INT4), or \"compile\": False",
      "{\"compile\": True}"
    ],
    [`pass`, "get_layer_configuration returned no dictionary", "a dictionary with precision, compile, lora", "None"],
    [
      `return "BF16"`,
      "get_layer_configuration returned no dictionary",
      "a dictionary with precision, compile, lora",
      "\"BF16\""
    ]
  ])("refuses %s", ([body, problem, expected, found]) =>
    Effect.gen(function*() {
      const error = yield* Effect.flip(table(always(body), 1))
      assert.deepInclude(error, { line: 1, problem, expected, found })
    }))

  it.effect.each<readonly [string, number]>([
    ["import os\nHOME = os.environ['HOME']\n", 2],
    ["import os\nos.system('id')\n", 2],
    ["import subprocess\n", 1],
    ["\nfrom os import path\n", 2],
    ["x = 1\nf = open('/etc/passwd')\n", 2],
    ["from pathlib import Path\nPath('/etc').exists()\n", 2],
    ["x = 1\nclass A:\n    pass\n", 2]
  ])("refuses %s in the sandbox, by line, with the way out", ([text, line]) =>
    Effect.gen(function*() {
      const error = yield* Effect.flip(table(text + always(`return {"precision": "BF16"}`), 1))
      assert.deepInclude(error, { _tag: "PrecisionError", line })
      assert.include(error.message, "add --python python3")
    }))

  it.effect("blames no line of the file for a call that never got into it", () =>
    Effect.gen(function*() {
      assert.strictEqual(
        yield* failure("get_layer_configuration = 3\n", 1),
        "config.py: TypeError: 'int' object is not callable\n" +
          "  in get_layer_configuration({\"num_hidden_layers\": 1}, {\"part\": \"PRE\", \"is_group\": True, \"index\": 0})"
      )
    }))

  it.effect("says that the file cannot be read", () =>
    Effect.gen(function*() {
      const error = yield* Effect.flip(evaluate({ configurationFile: "/nowhere/config.py" }, 1, decoderPrograms(1)))
      assert.include(error.message, "/nowhere/config.py: cannot be read: there is no such file or folder\n")
      assert.include(error.message, "give the path")
    }))

  it.effect("quotes nothing of what is no Python file", () =>
    Effect.gen(function*() {
      const fs = yield* FileSystem.FileSystem
      const folder = yield* fs.makeTempDirectoryScoped()
      assert.include(yield* refused(folder), "not a Python file, but a folder")
      for (const bytes of [Uint8Array.of(0x80, 2, 0xff), Uint8Array.of(0x41, 0, 0x41)]) {
        yield* fs.writeFile(`${folder}/model.safetensors`, bytes)
        assert.include(yield* refused(`${folder}/model.safetensors`), "not a Python file: it is not text\n")
      }
      yield* fs.writeFile(`${folder}/large.py`, new Uint8Array(2 ** 20 + 1).fill(0x20))
      assert.include(yield* refused(`${folder}/large.py`), "not a Python file: it has 1048577 bytes")
    }))

  it.effect("quotes one short printable line of a file", () =>
    Effect.gen(function*() {
      const text = yield* failure(`x = (\u001b[31m ${"y ".repeat(500)}\n`, 1)
      assert.notInclude(text, "\u001b")
      assert.isTrue(text.split("\n").every((line) => line.length < 200), text)
    }))

  it.effect("says that the interpreter cannot be run", () =>
    Effect.gen(function*() {
      const text = yield* failure(branches, 1, { python: "/nowhere/python" })
      assert.include(text, "config.py: /nowhere/python cannot be run")
      assert.include(text, "found there is no such file or folder")
      assert.isBelow(text.length, 200, text)
    }))

  it.effect("lets the interpreter's user print and exit", () =>
    Effect.gen(function*() {
      yield* table(`print("to nobody")\n${branches}`, 1, { python })
      assert.include(yield* failure("import sys\nsys.exit(3)\n", 1, { python }), "config.py:2: SystemExit: 3")
    }))
})

layer(NodeServices.layer, { excludeTestServices: true })("limits", (it) => {
  const programs = decoderPrograms(1)
  const source = always("while layer[\"index\"] == 0:\n        pass")
  const run = { file: "config.py", source, layers: 1, programs }

  it.effect("end an endless loop in the sandbox, with the call", () =>
    Effect.gen(function*() {
      const error = yield* Effect.flip(runSandboxed(run, { seconds: 0.1, bytes: 2 ** 24, depth: 100 }))
      assert.strictEqual(error.problem, "took longer than 0.1 s")
      assert.include(error.call, "{\"part\": \"PRE\", \"is_group\": True, \"index\": 0}")
    }))

  it.effect("end memory and depth without end in the sandbox", () =>
    Effect.gen(function*() {
      const limits = { seconds: 5, bytes: 2 ** 24, depth: 100 }
      const memory = yield* Effect.flip(runSandboxed({ ...run, source: always("return \"x\" * 10**9") }, limits))
      assert.strictEqual(memory.problem, "used more than 16 MiB")
      const depth = yield* Effect.flip(
        runSandboxed({ ...run, source: always("return get_layer_configuration(1, 2)") }, limits)
      )
      assert.include(depth.problem, "RecursionError")
    }))

  it.effect("end an endless loop of an interpreter", () =>
    Effect.gen(function*() {
      const file = yield* written(source)
      const error = yield* Effect.flip(runInterpreter({ ...run, file, python }, Duration.millis(300)))
      assert.strictEqual(error.problem, "took longer than 0.3 s")
    }))

  it.effect("log what the file prints, and nothing reaches stdout", () =>
    Effect.gen(function*() {
      const lines: Array<string> = []
      const logger = Logger.make(({ message }) => {
        lines.push(String(message))
      })
      yield* runSandboxed({ ...run, source: `print("hello", 3)\n${always("print(layer[\"part\"])")}` }).pipe(
        Effect.provide(Logger.layer([logger]))
      )
      assert.deepStrictEqual(lines.slice(0, 3), ["config.py: hello 3", "config.py: PRE", "config.py: CACHE"])
    }))
})

layer(NodeServices.layer, { excludeTestServices: true })("rules", (it) => {
  it.effect("decide by the first that fits", () =>
    Effect.gen(function*() {
      const { name, text } = json({
        rules: [
          { part: "CACHE", layers: "2", compile: false },
          { part: ["PRE", "POST"], layers: "0,2-3", is_group: true, precision: "A_BF16_W_INT8", lora: "LORA_BRANCH" }
        ],
        default: { precision: "A_BF16_W_INT4" }
      })
      const result = yield* table(text, 4, { name })
      assert.isFalse(choiceOf(result, "CACHE", false, 2).compile)
      assert.deepInclude(choiceOf(result, "POST", true, 3), { precision: "A_BF16_W_INT8", lora: "LORA_BRANCH" })
      assert.strictEqual(choiceOf(result, "POST", true, 1).precision, "A_BF16_W_INT4")
      assert.strictEqual(choiceOf(result, "POST", false, 3).precision, "A_BF16_W_INT4")
    }))

  const precisionNames = "expected one of BF16, A_BF16_W_INT8, A_BF16_W_INT4"
  const keys = `"part", "is_group", "layers", "precision", "compile", "lora"`

  it.effect.each<readonly [unknown, string]>([
    [[], `the file is no object\n  expected an object with "rules" and "default"\n  found []`],
    [{ rule: [] }, `unknown key\n  expected "rules" or "default"\n  found "rule"`],
    [{ rules: null }, `wrong "rules"\n  expected a list of rules\n  found null`],
    [
      { rules: ["PRE"] },
      `rule 1 is no object\n  expected an object with "precision", "compile", "lora"\n  found "PRE"`
    ],
    [{ rules: [{ precison: "BF16" }] }, `unknown key in rule 1\n  expected one of ${keys}\n  found "precison"`],
    [
      { rules: [{ part: "HEAD", precision: "BF16" }] },
      `wrong "part" in rule 1\n  expected one of "PRE", "CACHE", "POST", "CONV", "VISION", or a list of them\n  found "HEAD"`
    ],
    [
      { rules: [{ layers: [1], precision: "BF16" }] },
      `wrong "layers" in rule 1\n  expected a layer, or ranges as text like "0-3,7"\n  found [1]`
    ],
    [
      { rules: [{ layers: "0,3-1", precision: "BF16" }] },
      `a reversed range in "layers" of rule 1\n  expected "1-3"\n  found "0,3-1"`
    ],
    [
      { rules: [{ is_group: "yes", precision: "BF16" }] },
      `wrong "is_group" in rule 1\n  expected true or false\n  found "yes"`
    ],
    [
      { rules: [{ part: "PRE" }] },
      `no "precision" in rule 1\n  expected "precision" (one of BF16, A_BF16_W_INT8, A_BF16_W_INT4), or "compile": false\n  found {}`
    ],
    // rules that no program reaches
    [
      { rules: [{ precision: "BF16" }, { layers: "1", precision: "INT3" }] },
      `wrong "precision" in rule 2\n  ${precisionNames}\n  found "INT3"`
    ],
    [
      { rules: [{ precision: "BF16" }, { precision: "BF16", compile: "no" }] },
      `wrong "compile" in rule 2\n  expected true or false\n  found "no"`
    ],
    [
      { rules: [{ layers: 9, precision: "BF16", lora: 7 }] },
      `wrong "lora" in rule 1\n  expected one of LORA_DISABLED, LORA_BRANCH, LORA_MERGED\n  found 7`
    ],
    [
      { rules: [{ precision: "BF16" }], default: { precision: "INT4" } },
      `wrong "precision" in "default"\n  ${precisionNames}\n  found "INT4"`
    ],
    [
      { default: null },
      `"default" is no object\n  expected an object with "precision", "compile", "lora"\n  found null`
    ],
    [
      { default: { part: "PRE", precision: "BF16" } },
      `unknown key in "default"\n  expected one of "precision", "compile", "lora"\n  found "part"`
    ]
  ])("refuse %j, in JSON's words", ([value, problem]) =>
    Effect.gen(function*() {
      const { name, text } = json(value)
      assert.strictEqual(yield* failure(text, 3, { name }), `rules.json: ${problem}`)
    }))

  it.effect.each<readonly [string, string]>([
    ["{", `1:2: not sound JSON: expected a key in quotes, found the end\n    {`],
    [
      `{"rules": [\n  {"precision": "BF16"},\n]}`,
      `3:1: not sound JSON: expected a value, found "]"\n    ]}\n  JSON has no comma after the last of a list or an object`
    ],
    [
      `{"rules": [{"layers": 0, "precision": "BF16", "layers": 1}]}`,
      `1:47: not sound JSON: the key "layers" is there twice, with 0 and then with 1\n` +
      `    {"rules": [{"layers": 0, "precision": "BF16", "layers": 1}]}`
    ]
  ])("refuse %s with its line and column", ([text, problem]) =>
    Effect.gen(function*() {
      assert.strictEqual(yield* failure(text, 1, { name: "rules.json" }), `rules.json:${problem}`)
    }))

  it.effect("are known by the file's extension, however it is written", () =>
    Effect.gen(function*() {
      const { text } = json({ default: { precision: "A_BF16_W_INT8" } })
      const result = yield* table(text, 1, { name: "rules.JSON" })
      assert.strictEqual(choiceOf(result, "PRE", true, 0).precision, "A_BF16_W_INT8")
    }))

  const precision = "BF16"
  it.effect.each<readonly [ReadonlyArray<object>, ReadonlyArray<string>]>([
    [[{ layers: "0-99", precision }], []],
    [[{ part: ["POST", "CONV"], precision }], []],
    [[{ layers: "30-40,50", precision }], ["1 has no effect: the model has layers 0-2 only, not 30-40, 50"]],
    [[{ layers: "0,30-40", precision }], ["1: the model has layers 0-2 only, not 30-40"]],
    [[{ part: ["CONV", "VISION"], precision }], ["1 has no effect: the model has no CONV, VISION"]],
    [
      [{ layers: "0-1", precision }, { layers: "2", precision }, { precision }],
      ["3 has no effect: rules 1-2 before it decide for all of its programs"]
    ],
    [
      [{ part: "PRE", precision }, { layers: 1, part: "PRE", precision }, { layers: 1, precision }],
      ["2 has no effect: rule 1 before it decides for all of its programs"]
    ]
  ])("%j: what they ask for in vain is a warning", ([rules, expected]) =>
    Effect.gen(function*() {
      const { name, text } = json({ rules })
      const { warnings } = yield* answer(text, 3, { name })
      assert.deepStrictEqual(
        warnings,
        expected.map((one) => `rule ${one}`.replace(/^rule \d+/, "$& of the configuration file"))
      )
    }))

  it.effect("whose conditions meet in no program are a warning", () =>
    Effect.gen(function*() {
      const { name, text } = json({ rules: [{ part: "CONV", layers: 1, precision }] })
      const programs = programsOf([{ kind: "convolution" }, { kind: "attention" }])
      assert.deepStrictEqual((yield* answer(text, 2, { name, programs })).warnings, [
        "rule 1 of the configuration file has no effect: no program of the model fits all of its conditions"
      ])
    }))
})

const choice = (
  precision: "BF16" | "A_BF16_W_INT8"
) => ({ precision, compile: true, lora: "LORA_DISABLED" } as const)

describe("sharingConflicts", () => {
  it("names the layers whose prefill and decode precisions differ", () => {
    const table = decoderPrograms(2).map((program) => ({
      program,
      choice: choice(program.index === 1 && program.isGroup ? "A_BF16_W_INT8" : "BF16")
    }))
    assert.deepStrictEqual(sharingConflicts(table), [
      { index: 1, part: "PRE", group: "A_BF16_W_INT8", single: "BF16" },
      { index: 1, part: "POST", group: "A_BF16_W_INT8", single: "BF16" }
    ])
  })

  it("counts convolution layers, which have weights in their one part", () => {
    const table = programsOf([{ kind: "convolution" }]).map((program) => ({
      program,
      choice: choice(program.isGroup ? "A_BF16_W_INT8" : "BF16")
    }))
    assert.deepStrictEqual(sharingConflicts(table), [
      { index: 0, part: "CONV", group: "A_BF16_W_INT8", single: "BF16" }
    ])
  })
})

describe("readChoice", () => {
  it("forgets the precision of what is not compiled", () => {
    assert.deepStrictEqual(
      readChoice({ compile: false, precision: "BF16" }),
      Result.succeed({ precision: undefined, compile: false, lora: "LORA_DISABLED" })
    )
  })
})
