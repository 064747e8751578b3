// The tables of README.md that come from the registries.
import { architectures } from "../src/arch/registry.ts"
import { quantizingStage } from "../src/plan/Plan.ts"
import { defaultChoice, precisions } from "../src/plan/Precision.ts"
import { blocks } from "../src/quantize/format/gguf/registry.ts"
import { formats } from "../src/quantize/format/registry.ts"
import { schemeOf } from "../src/quantize/scheme/registry.ts"
import { layouts } from "../src/source/gguf/Names.ts"
import { compressedFormats } from "../src/source/quantized/CompressedSettings.ts"

const table = (head: ReadonlyArray<string>, rows: ReadonlyArray<ReadonlyArray<string>>): string =>
  [head, head.map(() => "---"), ...rows].map((cells) => `| ${cells.join(" | ")} |`).join("\n")

const families = (): string =>
  table(
    ["family", "reads `model_type`"],
    architectures.map(({ aliases, name }) => [name, [name, ...aliases].map((type) => `\`${type}\``).join(", ")])
  )

const precisionTable = (): string =>
  table(
    ["name", "weights", "the head"],
    precisions.map((name) => {
      const scheme = schemeOf(name)
      return [
        `\`${name}\`${name === defaultChoice.precision ? " (default)" : ""}`,
        scheme === undefined ? "as stored" : `${scheme.bits}-bit codes, blocks of ${scheme.block}, f16 scales`,
        scheme === undefined ? "as stored" : `${scheme.headBits} bits`
      ]
    })
  )

/** Stages of a kind of source: only plain folders go through ONNX. */
const stages = (kind: keyof typeof quantizingStage): string =>
  ["DEVKIT", ...kind === "huggingface" ? ["ONNX"] : [], quantizingStage[kind].name, "COMPILE"].join(" → ")

interface Fate {
  readonly name: string
  readonly exact: boolean
}

/** What becomes of formats. */
const fateText = (fates: ReadonlyArray<Fate>): string => {
  const named = (wanted: boolean) => fates.filter(({ exact }) => exact === wanted).map(({ name }) => name).join(", ")
  return fates.every(({ exact }) => exact) ? "exact" : `${named(true)}: exact; ${named(false)}: rounded to bf16`
}

/** Tools that write quantised folders: what of their formats is read, and how they call those that we know by the keys. */
const tools: ReadonlyArray<readonly [tool: string, extent: string, formats: Readonly<Record<string, string>>]> = [
  ["compressed-tensors", "integers of 4 and 8 bits, with zero points, any group, act-order; FP8; NVFP4", {
    packed: "pack-quantized",
    int8: "int-quantized",
    fp8: "float-quantized",
    nvfp4: "nvfp4-pack-quantized"
  }],
  ["AutoGPTQ", "4 and 8 bits, desc_act", { gptq: "v1", gptq_v2: "v2" }],
  ["AutoAWQ", "4 bits", { awq: "gemm" }]
]

const folderRows = (): ReadonlyArray<ReadonlyArray<string>> => {
  // GGUF has a row of its own; experts that our own reader turns on the way are nobody's format
  const read = formats.filter(({ name }) => !name.startsWith("gguf/") && name !== "transposed")
  const known = tools.flatMap(([, , names]) => Object.entries(names).flat())
  const unknown = [...read.map(({ name }) => name), ...compressedFormats].filter((name) => !known.includes(name))
  if (unknown.length > 0) throw new Error(`scripts/tables.ts names no tool for the formats ${unknown.join(", ")}`)
  return tools.map(([tool, extent, names]) => {
    const fates = read.flatMap(({ exact, name }): ReadonlyArray<Fate> => {
      const called = names[name]
      return called === undefined ? [] : [{ name: called, exact }]
    })
    return [
      `${tool} folder (${fates.map(({ name }) => name).join(", ")}: ${extent})`,
      stages("quantized"),
      fateText(fates)
    ]
  })
}

const sources = (): string => {
  const dtypes = [...new Set(architectures.flatMap((family) => family.dtypes))].join(", ")
  return table(["source", "stages", "weights"], [
    [
      `Hugging Face folder (safetensors, one file or shards; ${dtypes})`,
      stages("huggingface"),
      "the checkpoint's own bytes, or codes by the configuration file"
    ],
    [
      `GGUF file, versions 2 and 3, split files too (${Object.keys(layouts).join(", ")})`,
      stages("gguf"),
      fateText(blocks.map(({ codes, name, plain }) => ({ name, exact: codes !== undefined || plain !== undefined })))
    ],
    ...folderRows()
  ])
}

/** Tables by the name of their block. */
const tables = (): Readonly<Record<string, string>> => ({
  precisions: precisionTable(),
  sources: sources(),
  families: families()
})

/** The README with its tables as the registries give them, each between its markers; a problem for each block that is not there once. */
export const withTables = (readme: string): { readonly text: string; readonly problems: ReadonlyArray<string> } => {
  const problems: Array<string> = []
  let text = readme
  for (const [name, made] of Object.entries(tables())) {
    const block = new RegExp(`(<!-- ${name}:[^>]*-->\n)[\\s\\S]*?(\n<!-- /${name} -->)`, "g")
    const found = readme.match(block)?.length ?? 0
    if (found !== 1) {
      problems.push(`expected one block from <!-- ${name}: … --> to <!-- /${name} -->, found ${found || "none"}`)
    }
    text = text.replace(block, (_, open: string, close: string) => `${open}${made}${close}`)
  }
  return { text, problems }
}
