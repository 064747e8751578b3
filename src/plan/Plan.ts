import { encode } from "../onnx/OnnxFile.ts"
import { byteLength } from "../tensor/DType.ts"
import { type Blob, blobsOf } from "./Blobs.ts"
import { keyOf } from "./Identity.ts"
import { graphOf, identitiesOf, type Job } from "./Job.ts"
import { numberRanges, type Part, type Program, programName } from "./Parts.ts"
import { type Choice, choiceOf, sharingConflicts } from "./Precision.ts"

/** Kinds of step, in the order in which they run for a Hugging Face folder. */
export const stageNames = ["DEVKIT", "ONNX", "QUANTIZE", "COMPILE"] as const
export type StageName = (typeof stageNames)[number]

/** One unit of work that is done whole or not at all. Paths are relative to the output folder; sizes in bytes. */
export interface Step {
  /** `quantize/layer_3` */
  readonly id: string
  readonly stage: StageName
  /** decoder layer; undefined for steps of the whole model */
  readonly layer: number | undefined
  /** what decides the outputs' bytes: a stamp with another key is stale */
  readonly key: string
  readonly needs: ReadonlyArray<string>
  readonly outputs: ReadonlyArray<string>
  readonly reads: number
  readonly writes: number
  /** peak bytes held while it runs */
  readonly memory: number
}

/** All that a build will do, known before it begins. */
export interface Plan {
  readonly job: Job
  /** in an order in which every step comes after those that it needs */
  readonly steps: ReadonlyArray<Step>
  readonly warnings: ReadonlyArray<string>
}

/** A program with the choice that the configuration file made for it. */
export interface Chosen {
  readonly program: Program
  readonly choice: Choice
}

const layerParts = ["PRE", "CACHE", "POST"] as const satisfies ReadonlyArray<Part>

/** The programs of a layer, prefill before decode, with their choices. */
export const programsOf = ({ table }: Job, index: number): ReadonlyArray<Chosen> =>
  [true, false].flatMap((isGroup) =>
    layerParts.map((part) => ({ program: { part, isGroup, index }, choice: choiceOf(table, part, isGroup, index) }))
  )

/** Those of `programsOf` that are compiled. */
export const compiledOf = (job: Job, index: number): ReadonlyArray<Chosen> =>
  programsOf(job, index).filter(({ choice }) => choice.compile)

/** Paths in the output folder. */
export const paths = {
  onnx: "onnx_files",
  devkit: "sima_files/devkit",
  quantized: "sima_files/quantized",
  mpk: "sima_files/mpk",
  onnxGraph: (program: Program) => `onnx_files/${programName(program)}.onnx`,
  quantizedGraph: (program: Program) => `sima_files/quantized/${programName(program)}.onnx`,
  quantizedBlob: (blob: Blob) => `sima_files/quantized/weights/${blob.name}`,
  archive: (index: number) => `sima_files/mpk/layer_${index}.tar.gz`
} as const

// Two workers with a source and a destination chunk each, the archive's chunks, and the graphs, beside the process itself.
const STEP_MEMORY = 48 * 2 ** 20

const sum = (numbers: ReadonlyArray<number>): number => numbers.reduce((total, n) => total + n, 0)

/** Bytes of the weights that a layer's graphs refer to, each counted once. */
const weightBytes = (graphs: ReadonlyArray<ReturnType<typeof graphOf>>): number => {
  const seen = new Map<string, number>()
  for (const { initializers } of graphs) {
    for (const { data, dtype, name, shape } of initializers) {
      if (data.kind === "external") seen.set(name, byteLength(dtype, shape.reduce((a, b) => a * b, 1)))
    }
  }
  return sum([...seen.values()])
}

/** Steps of one decoder layer. */
const layerSteps = (job: Job, index: number): ReadonlyArray<Step> => {
  const { request, target } = job
  const layer = `layer_${index}`
  const all = programsOf(job, index).map(({ choice, program }) => ({ choice, program, graph: graphOf(job, program) }))
  const compiled = all.filter(({ choice }) => choice.compile)
  const encoded = all.map(({ graph }) => encode(graph))
  const blobs = blobsOf(job, index)
  const source = identitiesOf(job, all.map(({ graph }) => graph))
  const float = weightBytes(compiled.filter(({ choice }) => choice.precision === "BF16").map(({ graph }) => graph))
  const read = weightBytes(compiled.map(({ graph }) => graph))
  const blobBytes = sum(blobs.map(({ layout }) => layout.length))
  const graphBytes = sum(encoded.map(({ length }) => length))
  const quantizeKey = keyOf({
    source,
    quality: request.quality,
    programs: compiled.map(({ choice, graph, program }) => ({
      name: programName(program),
      precision: choice.precision,
      graph: encode(graph)
    }))
  })
  const onnx: Step = {
    id: `onnx/${layer}`,
    stage: "ONNX",
    layer: index,
    key: keyOf({ source, graphs: encoded }),
    needs: ["onnx/weights"],
    outputs: all.map(({ program }) => paths.onnxGraph(program)),
    reads: 0,
    writes: graphBytes,
    memory: 2 * graphBytes
  }
  if (compiled.length === 0) return [onnx]
  return [
    onnx,
    {
      id: `quantize/${layer}`,
      stage: "QUANTIZE",
      layer: index,
      key: quantizeKey,
      needs: [onnx.id, "quantize/weights"],
      outputs: [...blobs.map(paths.quantizedBlob), ...compiled.map(({ program }) => paths.quantizedGraph(program))],
      reads: read,
      writes: blobBytes + graphBytes,
      memory: STEP_MEMORY
    },
    {
      id: `compile/${layer}`,
      stage: "COMPILE",
      layer: index,
      key: keyOf({ quantizeKey, target: target.name, pack: request.pack }),
      needs: [`quantize/${layer}`],
      outputs: [paths.archive(index)],
      reads: blobBytes + float,
      writes: blobBytes + float + graphBytes,
      memory: STEP_MEMORY
    }
  ]
}

/** The checkpoint's own weight files, absolute paths. */
export const weightFiles = ({ model, weights }: Job): ReadonlyArray<string> =>
  [...new Set(model.tensors.map(({ name }) => weights(name).range.file))].sort()

/** Steps that are not of one layer: the devkit, and the links to the checkpoint's own files. */
const modelSteps = (job: Job): ReadonlyArray<Step> => {
  const { checkpoint, model, request, table, weights } = job
  const embedding = weights(model.facts.embedding.tensor)
  const source = checkpoint.files.map(({ bytes, mtimeMillis, path }) => ({
    name: path.split(/[\\/]/).at(-1),
    bytes,
    mtimeMillis
  }))
  const link = (id: string, stage: StageName, folder: string, needs: ReadonlyArray<string>): Step => ({
    id,
    stage,
    layer: undefined,
    key: keyOf({ source, folder }),
    needs,
    outputs: weightFiles(job).map((file) => `${folder}/weights/${file.split(/[\\/]/).at(-1)}`),
    reads: 0,
    writes: 0,
    memory: 0
  })
  return [
    {
      id: "devkit",
      stage: "DEVKIT",
      layer: undefined,
      key: keyOf({
        source,
        facts: model.facts,
        table,
        config: checkpoint.config,
        maxNumTokens: request.maxNumTokens,
        groupSize: request.languageGroupSize,
        futureTokenMaskSize: request.futureTokenMaskSize,
        quantizeEmbeddings: request.quantizeEmbeddings,
        returnLogits: request.returnLogits,
        filterSharing: request.enableFilterSharing
      }),
      needs: [],
      outputs: [],
      reads: embedding.range.length,
      writes: request.quantizeEmbeddings ? model.facts.vocabulary * (model.facts.hidden + 2) : embedding.range.length,
      memory: STEP_MEMORY
    },
    link("onnx/weights", "ONNX", paths.onnx, []),
    link("quantize/weights", "QUANTIZE", paths.quantized, ["onnx/weights"])
  ]
}

const warningsOf = (job: Job): ReadonlyArray<string> => {
  const { checkpoint, model, request, table } = job
  const warnings = [...checkpoint.warnings]
  if (request.enableFilterSharing) {
    const layers = [...new Set(sharingConflicts(table).map(({ index }) => index))]
    if (layers.length > 0) {
      warnings.push(
        `--enable_filter_sharing: group and single programs of layers ${
          numberRanges(layers)
        } have different precisions and cannot share their weights`
      )
    }
  }
  if (request.maxNumTokens > model.facts.positions) {
    warnings.push(
      `--max_num_tokens ${request.maxNumTokens} is more than the ${model.facts.positions} positions that the model was made for; answers past that are unreliable`
    )
  }
  const lora = [
    ...new Set(table.filter(({ choice }) => choice.lora !== "LORA_DISABLED").map(({ program }) => program.index))
  ]
  if (lora.length > 0) {
    warnings.push(
      `the configuration file asks for LoRA in layers ${
        numberRanges(lora)
      }; adapters are not built yet, the layers are compiled without branches`
    )
  }
  const int4 = table.some(({ choice }) => choice.precision === "A_BF16_W_INT4")
  if (int4) {
    warnings.push(
      "the output head stays 8-bit under A_BF16_W_INT4 (4 bits there cost more quality than all layers together)"
    )
  }
  return warnings
}

/** Every step of a build for a Hugging Face folder; pure. */
export const planOf = (job: Job): Plan => ({
  job,
  steps: [...modelSteps(job), ...job.model.facts.layers.flatMap((_, index) => layerSteps(job, index))],
  warnings: warningsOf(job)
})
