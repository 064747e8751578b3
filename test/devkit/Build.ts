import { Effect, FileSystem } from "effect"
import { find } from "../../src/arch/registry.ts"
import { type EmbeddingKernels, type Publish, writeEmbeddings } from "../../src/devkit/Embeddings.ts"
import { pythonFiles } from "../../src/devkit/pythonFiles.ts"
import { encodeRuntimeConfig, runtimeConfig } from "../../src/devkit/RuntimeFile.ts"
import { endTokens } from "../../src/devkit/Tokenizer.ts"
import type { Graph } from "../../src/onnx/Graph.ts"
import { encode } from "../../src/onnx/OnnxFile.ts"
import type { Entry } from "../../src/pack/Entry.ts"
import { Mpk } from "../../src/pack/Mpk.ts"
import { decoderPrograms, programName } from "../../src/plan/Parts.ts"
import { open } from "../../src/source/Checkpoint.ts"
import type { ByteRange } from "../../src/tensor/Tensor.ts"
import { finder } from "../arch/Case.ts"

/** Writes into `folder` at once: what is tested here is content, not atomicity. */
export const publishInto = (folder: string): Publish<never> => (name, write) => write(`${folder}/${name}`)

/** Copies with the FileSystem; refuses to quantise. */
export const copying = Effect.map(FileSystem.FileSystem, (fs) => {
  const kernels: EmbeddingKernels<unknown, never> = {
    copy: ({ from, to }) =>
      Effect.scoped(Effect.gen(function*() {
        const source = yield* fs.open(from.file, { flag: "r" })
        const bytes = new Uint8Array(from.length)
        yield* source.read(bytes, { position: BigInt(from.offset) })
        const target = yield* fs.open(to.file, { flag: "r+" })
        yield* target.seek(BigInt(to.offset), "start")
        yield* target.writeAll(bytes)
      })),
    recode: () => Effect.die("recode was called"),
    convert: () => Effect.die("convert was called"),
    quantizeRows: () => Effect.die("quantizeRows was called")
  }
  return kernels
})

/** The graph with all of its external weights in one file beside it. */
const gathered = (graph: Graph, file: string, checkpoint: string): { graph: Graph; entry: Entry } => {
  const ranges: Array<ByteRange> = []
  let at = 0
  const initializers = graph.initializers.map((initializer) => {
    const { data } = initializer
    if (data.kind !== "external") return initializer
    // a graph names the checkpoint's files as links in weights/
    ranges.push({ file: data.location.replace(/^weights/, checkpoint), offset: data.offset, length: data.length })
    const moved = { kind: "external" as const, location: file, offset: at, length: data.length }
    at += data.length
    return { ...initializer, data: moved }
  })
  return { graph: { ...graph, initializers }, entry: { name: file, content: { kind: "ranges", ranges } } }
}

/** Compiles a Hugging Face folder as it is, in float, into `output/sima_files`; programs of both phases are the same graph. */
export const build = (checkpointPath: string, output: string, groupSize: number) =>
  Effect.gen(function*() {
    const fs = yield* FileSystem.FileSystem
    const mpk = yield* Mpk
    const kernels = yield* copying
    const checkpoint = yield* open(checkpointPath)
    const family = yield* Effect.fromNullishOr(find(String(checkpoint.config["model_type"])))
    const model = yield* Effect.fromResult(family.read(checkpoint.config))
    const weights = finder(checkpoint.tensors, model.tensors)
    const devkit = `${output}/sima_files/devkit`
    yield* fs.makeDirectory(`${devkit}/llima_runtime`, { recursive: true })
    yield* fs.makeDirectory(`${output}/sima_files/mpk`, { recursive: true })
    for (const [index, { kind }] of model.facts.layers.entries()) {
      const parts = kind === "convolution"
        ? { conv: model.conv(index, weights, "logits") }
        : {
          pre: model.pre(index, weights),
          cache: model.cache(index, weights),
          post: model.post(index, weights, "logits")
        }
      const entries = Object.entries(parts).flatMap(([part, float]) => {
        const { entry, graph } = gathered(float, `${part}.bin`, checkpointPath)
        const programs = ["group", "single"].map((phase): Entry => ({
          name: `${phase}_${part}_${index}.onnx`,
          content: { kind: "bytes", bytes: encode(graph) }
        }))
        return [entry, ...programs]
      })
      yield* mpk.write(`${output}/sima_files/mpk/layer_${index}.tar.gz`, entries, "fast")
    }
    const { embeddings } = yield* writeEmbeddings(weights(model.facts.embedding.tensor), {
      quantize: false,
      kernels,
      publish: publishInto(devkit)
    })
    const config = runtimeConfig(model.facts, {
      maxNumTokens: 128,
      groupSize,
      futureTokenMaskSize: 128,
      returnLogits: true,
      programs: decoderPrograms(model.facts.layers).map((program) => ({
        name: programName(program),
        layer: program.index,
        precision: "BF16",
        compile: true,
        lora: "LORA_DISABLED"
      })),
      embeddings,
      tokens: yield* Effect.fromResult(
        endTokens(checkpoint.generationConfig, checkpoint.config, model.facts.vocabulary)
      )
    })
    yield* fs.writeFileString(`${devkit}/runtime.json`, encodeRuntimeConfig(config))
    for (const [name, text] of Object.entries(pythonFiles)) yield* fs.writeFileString(`${devkit}/${name}`, text)
    return { model, config, devkit }
  })
