import type { Graph } from "../onnx/Graph.ts"
import { encode } from "../onnx/OnnxFile.ts"
import { bytesOf, layoutBlob } from "../quantize/Blob.ts"
import { formatOf } from "../quantize/format/registry.ts"
import { byteLength } from "../tensor/DType.ts"
import type { Tensor } from "../tensor/Tensor.ts"
import { type Blob, blobsOf } from "./Blobs.ts"
import { keyOf } from "./Identity.ts"
import { graphOf, identitiesOf, type Job } from "./Job.ts"
import { layerPrograms, type Program, programName } from "./Parts.ts"
import { type Choice, choiceOf } from "./Precision.ts"
import { stageFlags } from "./Request.ts"
import { shapedOf } from "./Shapes.ts"
import { warningsOf } from "./Warnings.ts"

/** Kinds of step, in the order in which they run; which of them a source goes through is in `quantizingStage`. */
export const stageNames = [
  "DEVKIT",
  "ONNX",
  "QUANTIZE",
  "MODEL_SDK_DIRECT",
  "SOURCE_TO_QUANT",
  "COMPILE",
  "VERIFY"
] as const
export type StageName = (typeof stageNames)[number]

/** The stage that writes quantised parts, by kind of source, and the flag that asks for it; only plain folders go through ONNX before. */
export const quantizingStage = {
  huggingface: { name: "QUANTIZE", flag: "--quantize", step: "quantize" },
  gguf: { name: "MODEL_SDK_DIRECT", flag: "--model_sdk", step: "model_sdk" },
  quantized: { name: "SOURCE_TO_QUANT", flag: "--model_sdk", step: "model_sdk" }
} as const satisfies Readonly<
  Record<Job["checkpoint"]["kind"], { readonly name: StageName; readonly flag: string; readonly step: string }>
>

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

/** The programs of a layer, prefill before decode, with their choices. */
export const programsOf = ({ model, table }: Job, index: number): ReadonlyArray<Chosen> =>
  model.facts.layers.slice(index, index + 1).flatMap((layer) => layerPrograms(layer, index)).map((program) => ({
    program,
    choice: choiceOf(table, program.part, program.isGroup, index)
  }))

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

/** What the process holds beside its steps: the program, the plan of a large model, two workers at rest. 120 to 140 MB measured. */
export const PROCESS_MEMORY = 144 * 2 ** 20

// Two workers with a source and a destination chunk each, the archive's chunks, and the graphs, beside the process itself.
const STEP_MEMORY = 48 * 2 ** 20

// Two threads of onnxruntime, the tokenizer, and pieces of the head; then both models' layer, as it is stored and as it is worked on.
// Measured with the process: 190 MB for a model of nothing, 430 MB for SmolLM2, 660 MB for layers of 122 MB.
const VERIFY_MEMORY = 290 * 2 ** 20

const sum = (numbers: ReadonlyArray<number>): number => numbers.reduce((total, n) => total + n, 0)

/** Bytes of the weights that a layer's graphs refer to, each counted once, as the checkpoint stores them. */
const weightBytes = ({ checkpoint }: Job, graphs: ReadonlyArray<Graph>): number => {
  const seen = new Map<string, number>()
  for (const { initializers } of graphs) {
    for (const { data, dtype, name, shape } of initializers) {
      const pieces = checkpoint.tensors.get(name)?.coded?.pieces
      if (pieces !== undefined) seen.set(name, sum(Object.values(pieces).map(({ range }) => range.length)))
      else if (data.kind === "external") seen.set(name, byteLength(dtype, shape.reduce((a, b) => a * b, 1)))
    }
  }
  return sum([...seen.values()])
}

/** How the coded tensors of graphs are stored: what their bytes mean. */
const codedOf = ({ checkpoint }: Job, graphs: ReadonlyArray<Graph>) => {
  const names = new Set(graphs.flatMap(({ initializers }) => initializers.map(({ name }) => name)))
  return [...names].sort().flatMap((name) => {
    const coded = checkpoint.tensors.get(name)?.coded
    if (coded === undefined) return []
    const { pieces, ...rest } = coded
    const places = Object.values(pieces).map(({ dtype, name, range, shape }) => ({
      name,
      dtype,
      shape,
      file: baseName(range.file),
      offset: range.offset,
      length: range.length
    }))
    return [{ name, ...rest, places }]
  })
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
  const direct = quantizingStage[job.checkpoint.kind]
  const float = weightBytes(job, compiled.filter(({ choice }) => choice.precision === "BF16").map(({ graph }) => graph))
  const read = weightBytes(job, compiled.map(({ graph }) => graph))
  const blobBytes = sum(blobs.map(({ layout }) => layout.length))
  const graphBytes = sum(encoded.map(({ length }) => length))
  const quantizeKey = keyOf({
    source,
    coded: codedOf(job, compiled.map(({ graph }) => graph)),
    forms: blobs.map(({ name }) => name),
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
  const floats = job.checkpoint.kind === "huggingface" ? [onnx] : []
  if (compiled.length === 0) return floats
  return [
    ...floats,
    {
      id: `${direct.step}/${layer}`,
      stage: direct.name,
      layer: index,
      key: quantizeKey,
      needs: [...floats.map(({ id }) => id), `${direct.step}/weights`],
      outputs: [...blobs.map(paths.quantizedBlob), ...compiled.map(({ program }) => paths.quantizedGraph(program))],
      reads: read,
      writes: blobBytes + graphBytes,
      memory: STEP_MEMORY
    },
    {
      id: `compile/${layer}`,
      stage: "COMPILE",
      layer: index,
      key: keyOf({
        quantizeKey,
        target: target.name,
        shapes: compiled.flatMap(({ program }) => shapedOf(job, program)),
        pack: request.pack
      }),
      needs: [`${direct.step}/${layer}`],
      outputs: [paths.archive(index)],
      reads: blobBytes + float,
      writes: blobBytes + float + graphBytes,
      memory: STEP_MEMORY
    }
  ]
}

const baseName = (path: string): string => path.split(/[\\/]/).at(-1) ?? path

/** The checkpoint's own files that hold plain weights, absolute paths: graphs refer to their bytes. */
export const weightFiles = ({ model, weights }: Job): ReadonlyArray<string> =>
  [...new Set(model.tensors.map(({ name }) => weights(name).range.file))].sort()

/** Bytes of the devkit's embedding files, but for their headers. */
const embeddingBytes = (tensor: Tensor, quantize: boolean): number => {
  const { coded, dtype, name, shape: [rows = 0, columns = 0] } = tensor
  const form = coded === undefined ? undefined : formatOf(tensor).form(tensor)
  return quantize
    ? rows * (columns + 2)
    : form === undefined
    ? byteLength(dtype, rows * columns)
    : sum(layoutBlob([{ name, rows, columns, form }]).weights.map(bytesOf))
}

/** Steps that are not of one layer: the devkit, and the links to the checkpoint's own files. */
const modelSteps = (job: Job): ReadonlyArray<Step> => {
  const { checkpoint, model, request, table, weights } = job
  const direct = quantizingStage[checkpoint.kind]
  const embedding = weights(model.facts.embedding.tensor)
  const source = checkpoint.files.map(({ bytes, mtimeMillis, path }) => ({
    name: baseName(path),
    bytes,
    mtimeMillis
  }))
  const files = weightFiles(job).map(baseName)
  const linked = source.filter(({ name }) => files.includes(name))
  const link = (id: string, stage: StageName, folder: string, needs: ReadonlyArray<string>): Step => ({
    id,
    stage,
    layer: undefined,
    key: keyOf({ source: linked, folder }),
    needs,
    outputs: files.map((file) => `${folder}/weights/${file}`),
    reads: 0,
    // the second folder of links has the first one's files
    writes: job.otherDisk && needs.length === 0 ? sum(linked.map(({ bytes }) => bytes)) : 0,
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
      writes: embeddingBytes(embedding, request.quantizeEmbeddings),
      memory: STEP_MEMORY
    },
    ...checkpoint.kind === "huggingface" ? [link("onnx/weights", "ONNX", paths.onnx, [])] : [],
    link(
      `${direct.step}/weights`,
      direct.name,
      paths.quantized,
      checkpoint.kind === "huggingface" ? ["onnx/weights"] : []
    )
  ]
}

/** Bytes of a layer's weights as the source stores them, without the head, which is worked on in pieces. */
const layerBytes = (job: Job, index: number): number => {
  const { embedding, head } = job.model.facts
  return weightBytes(
    job,
    programsOf(job, index).map(({ program }) => graphOf(job, program)).map((graph) => ({
      ...graph,
      initializers: graph.initializers.filter(({ name }) => name !== embedding.tensor && name !== head)
    }))
  )
}

// Raised when what is compared, or its thresholds, change: builds that passed are then looked at again.
const VERIFY_FORMAT = 1

/** All programs are compared with the float model once they are there: when all stages run, on a target whose programs run here. */
const verifySteps = (job: Job, made: ReadonlyArray<Step>): ReadonlyArray<Step> => {
  const { request, target } = job
  const compiled = made.filter(({ stage }) => stage === "COMPILE")
  const whole = request.stages.length === stageFlags.length
  if (request.verify === "none" || target.runsHere !== true || !whole || compiled.length === 0) return []
  const largest = Math.max(...job.model.facts.layers.map((_, index) => layerBytes(job, index)))
  const needed = made.filter(({ stage }) => stage === "DEVKIT" || stage === "COMPILE")
  return [{
    id: "verify",
    stage: "VERIFY",
    layer: undefined,
    key: keyOf({ format: VERIFY_FORMAT, mode: request.verify, made: needed.map(({ id, key }) => [id, key]) }),
    needs: needed.map(({ id }) => id),
    outputs: [],
    reads: sum(compiled.map(({ reads }) => reads)),
    writes: 0,
    memory: VERIFY_MEMORY + 2 * largest
  }]
}

/** Every step of a build; pure. */
export const planOf = (job: Job): Plan => {
  const made = [...modelSteps(job), ...job.model.facts.layers.flatMap((_, index) => layerSteps(job, index))]
  return { job, steps: [...made, ...verifySteps(job, made)], warnings: warningsOf(job) }
}
