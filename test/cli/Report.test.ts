import { assert, describe, it } from "@effect/vitest"
import { precisionLines } from "../../src/cli/PrecisionText.ts"
import { type BuildView, formatBuild, formatHead, formatPlan, type PlanView } from "../../src/cli/Report.ts"
import { formatSeconds, formatSize, parseSize } from "../../src/cli/Size.ts"
import { decoderPrograms as programsOf, type Program } from "../../src/plan/Parts.ts"
import type { Choice, LoraMode, Precision } from "../../src/plan/Precision.ts"

const choice = (precision: Precision, lora: LoraMode = "LORA_DISABLED"): Choice => ({ precision, compile: true, lora })
const skipped: Choice = { precision: undefined, compile: false, lora: "LORA_DISABLED" }
const decoderPrograms = (layers: number) => programsOf(Array.from({ length: layers }, () => ({ kind: "attention" })))
const table = (layers: number, choose: (program: Program) => Choice) =>
  decoderPrograms(layers).map((program) => ({ program, choice: choose(program) }))

describe("precisionLines", () => {
  it("shows one line when all is the same", () => {
    assert.deepStrictEqual(precisionLines(table(30, () => choice("BF16"))), [
      "layers 0-29  PRE CACHE POST  group+single  BF16"
    ])
  })

  it("joins layers that are alike, also apart, and splits phases and parts", () => {
    const lines = precisionLines([
      ...table(6, ({ index, isGroup, part }) =>
        index === 0 || index === 5
          ? choice("BF16")
          : part === "CACHE" && index > 3
          ? skipped
          : choice(isGroup ? "A_BF16_W_INT8" : "A_BF16_W_INT4", "LORA_BRANCH")),
      { program: { part: "VISION" as const, isGroup: false, index: 0 }, choice: choice("BF16") }
    ])
    assert.deepStrictEqual(lines, [
      "layers 0, 5  PRE CACHE POST  group+single  BF16",
      "layers 1-3   PRE CACHE POST  group         A_BF16_W_INT8  LORA_BRANCH",
      "             PRE CACHE POST  single        A_BF16_W_INT4  LORA_BRANCH",
      "layer 4      PRE POST        group         A_BF16_W_INT8  LORA_BRANCH",
      "             CACHE           group+single  not compiled",
      "             PRE POST        single        A_BF16_W_INT4  LORA_BRANCH",
      "vision       VISION                        BF16"
    ])
  })
})

const step = (stage: string, reads: number, writes: number) => ({ stage, reads, writes })
const plan: PlanView = {
  model: "Tiny",
  facts: "llama, 2 layers, Hugging Face",
  output: "out",
  target: "host",
  jobs: 2,
  maxMemory: 2 ** 30,
  memory: 430 * 2 ** 20,
  seconds: 4.2,
  kept: 0,
  lacking: [],
  diskFree: 40 * 2 ** 30,
  steps: [
    step("DEVKIT", 2 ** 20, 2 ** 20),
    step("COMPILE", 2 ** 20, 2 ** 19),
    step("COMPILE", 2 ** 20, 2 ** 19)
  ],
  intake: ["14 gguf/Q4_K → int4, exact", "1 gguf/Q6_K → int8, exact"],
  table: table(2, () => choice("BF16")),
  warnings: ["something to know"]
}

describe("formatPlan", () => {
  it("shows sizes by stage, memory, disk, precision and warnings", () => {
    assert.strictEqual(
      formatPlan(plan),
      `model   Tiny (llama, 2 layers, Hugging Face)
output  out
target  host, 2 jobs
memory  about 430 MiB at most, limit 1.00 GiB
disk    2.00 MiB of 40.0 GiB free
time    roughly 4.2 s
source  14 gguf/Q4_K → int4, exact
        1 gguf/Q6_K → int8, exact

stage    steps     reads    writes
DEVKIT       1  1.00 MiB  1.00 MiB
COMPILE      2  2.00 MiB  1.00 MiB
total        3  3.00 MiB  2.00 MiB

layers 0-1  PRE CACHE POST  group+single  BF16

warning: something to know`
    )
  })
})

describe("formatPlan, with an earlier build there", () => {
  it("counts what is kept, and names what will be missing", () => {
    const text = formatPlan({ ...plan, kept: 7, lacking: ["DEVKIT", "ONNX"] })
    assert.include(text, "kept     7 steps that an earlier build finished")
    assert.include(text, "missing  DEVKIT, ONNX: not there, or of other options; run these stages too")
  })
  it("says that nothing is left to do", () => {
    const text = formatPlan({ ...plan, steps: [], kept: 9 })
    assert.include(text, "nothing is left to do")
    assert.notMatch(text, /memory|disk|time/)
  })
})

describe("formatHead", () => {
  it("says in three lines what begins", () => {
    assert.strictEqual(
      formatHead({ ...plan, kept: 2 }),
      `Tiny (llama, 2 layers, Hugging Face) → out, host, 2 jobs
3 steps (2 kept): 2.00 MiB to write of 40.0 GiB free, about 430 MiB of memory, roughly 4.2 s
BF16 12 of 12 programs; --dry_run shows them by layer`
    )
  })
})

const build: BuildView = {
  output: "my out",
  archives: 30,
  intake: [{ kind: "exact", error: null }, { kind: "requantised", error: 0.0812 }, { kind: "exact", error: null }],
  sizes: [
    { precision: "A_BF16_W_INT4", weights: 100e6, before: 200e6, after: 56.25e6 },
    { precision: "A_BF16_W_INT8", weights: 28e6, before: 56e6, after: 29.75e6 }
  ],
  stages: [{ name: "QUANTIZE", seconds: 0.8, steps: 30, reused: 4 }, {
    name: "COMPILE",
    seconds: 2.41,
    steps: 30,
    reused: 0
  }],
  seconds: 3.21,
  written: 172e6,
  peakMemory: 412 * 2 ** 20,
  verified: "30 layers, largest relative error 0.004 (layer 17 POST)",
  files: ["my out/build.json", "my out/report.html"],
  lacking: [],
  omitted: 0,
  runnable: true
}

describe("formatBuild", () => {
  it("shows sizes, bits per weight, times and what to do next", () => {
    assert.strictEqual(
      formatBuild(build),
      `my out: 30 archives in 3.2 s, 164 MiB written, 412 MiB of memory at most

weights        numbers    before     after  bits per weight
A_BF16_W_INT4  100.0 M   191 MiB  53.6 MiB             4.50
A_BF16_W_INT8   28.0 M  53.4 MiB  28.4 MiB             8.50
total          128.0 M   244 MiB  82.0 MiB             5.38

tensors quantised before: 2 exact, 1 requantised (error 8.1 % at most)

stage     steps  kept    time
QUANTIZE     30     4  800 ms
COMPILE      30     0   2.4 s

verified: 30 layers, largest relative error 0.004 (layer 17 POST)

facts: my out/build.json, my out/report.html

next: llima run 'my out' --prompt "Once upon a time"`
    )
  })

  it("leaves out what is not known", () => {
    const text = formatBuild({
      ...build,
      output: "out",
      sizes: [],
      peakMemory: undefined,
      verified: undefined,
      files: [],
      runnable: false
    })
    assert.notMatch(text, /memory|verified|facts|next|bits/)
  })
})

const last = (view: Partial<BuildView>) => formatBuild({ ...build, ...view }).split("\n").at(-1)

describe("formatBuild's last line", () => {
  it("names the stages that are missing, and their flags", () => {
    assert.strictEqual(
      last({ lacking: [{ stage: "DEVKIT", flag: "--devkit" }, { stage: "ONNX", flag: "--onnx" }] }),
      "not whole yet: DEVKIT, ONNX: not there, or of other options; next: the same command with --devkit --onnx"
    )
  })
  it("does not send anybody to run a build with programs left out", () => {
    assert.strictEqual(
      last({ omitted: 2 }),
      "2 programs left out by the configuration file (\"compile\": False): llima run needs all of them"
    )
  })
})

describe("parseSize", () => {
  it.each<readonly [string, number | undefined]>([
    ["4GB", 4e9],
    ["512MiB", 2 ** 29],
    ["1.5G", 1.5e9],
    ["1.5gib", 1.5 * 2 ** 30],
    ["64 MB", 64e6],
    ["1000", 1000],
    ["2T", 2e12],
    ["", undefined],
    ["GB", undefined],
    ["-1GB", undefined],
    ["4X", undefined],
    ["1e9", undefined]
  ])("reads %s as %s", (text, bytes) => {
    assert.strictEqual(parseSize(text), bytes)
  })
})

describe("formatSize", () => {
  it("has three digits and binary units", () => {
    assert.deepStrictEqual([0, 1023, 1024, 27.26 * 2 ** 20, 999 * 2 ** 30, 2 ** 40].map(formatSize), [
      "0 B",
      "1023 B",
      "1.00 KiB",
      "27.3 MiB",
      "999 GiB",
      "1.00 TiB"
    ])
  })
})

describe("formatSeconds", () => {
  it("grows with the time", () => {
    assert.deepStrictEqual([0, 0.85, 0.9999, 3.24, 59.97, 125, 3600 + 245].map(formatSeconds), [
      "0 ms",
      "850 ms",
      "1.0 s",
      "3.2 s",
      "1 min 00 s",
      "2 min 05 s",
      "1 h 04 min"
    ])
  })
})
