import { Effect, FileSystem, Layer, Result } from "effect"
import { readFileSync } from "node:fs"
import { join } from "node:path"
import { find } from "../../src/arch/registry.ts"
import { runtimeConfigPath } from "../../src/devkit/RuntimeConfig.ts"
import { encodeRuntimeConfig, runtimeConfig } from "../../src/devkit/RuntimeFile.ts"
import type { Graph } from "../../src/onnx/Graph.ts"
import { Mpk } from "../../src/pack/Mpk.ts"
import { decoderPrograms, programName } from "../../src/plan/Parts.ts"
import { layoutBlob } from "../../src/quantize/Blob.ts"
import { Kernels } from "../../src/quantize/Kernels.ts"
import { weightsOf } from "../../src/quantize/Linear.ts"
import { quantizeGraph } from "../../src/quantize/Quantizer.ts"
import { formUnder, type Scheme } from "../../src/quantize/scheme/Scheme.ts"
import { hostLayer } from "../../src/target/host.ts"
import { Target } from "../../src/target/Target.ts"
import { encodeHeader } from "../../src/tensor/Npy.ts"
import type { Tensor } from "../../src/tensor/Tensor.ts"
import { finder, readCase } from "../arch/Case.ts"

/** What a test build is like. */
export interface BuildOptions {
  readonly maxNumTokens?: number
  readonly groupSize?: number
  readonly returnLogits?: boolean
  /** programs that the archives do not have */
  readonly without?: ReadonlyArray<string>
  /** weights become codes of the scheme w4 or w8; bf16 without it */
  readonly scheme?: Scheme
  /** false: the quantised graphs go into the archives as they are */
  readonly lowered?: boolean
  /** changes a program's graph before it is compiled */
  readonly change?: (program: string, graph: Graph) => Graph
}

const descr = { bf16: "<u2", f16: "<f2", f32: "<f4" } as const

const embeddingDtype = ({ dtype, name }: Tensor) => {
  if (dtype === "bf16" || dtype === "f16" || dtype === "f32") return dtype
  throw new Error(`${name} is ${dtype}`)
}

/** Builds a case of `test/fixtures/text` for the host, without the stages: families, target, archives. Gives the output folder. */
export const buildCase = Effect.fnUntraced(function*(name: string, options: BuildOptions = {}) {
  const {
    change = (_, graph) => graph,
    groupSize = 16,
    maxNumTokens = 96,
    lowered = true,
    returnLogits = false,
    scheme,
    without = []
  } = options
  const fs = yield* FileSystem.FileSystem
  const target = yield* Target
  const mpk = yield* Mpk
  const test = readCase(name)
  const family = find(test.config.model_type)
  if (family === undefined) throw new Error(`no family reads ${test.config.model_type}`)
  const model = Result.getOrThrow(family.read(test.config))
  const weights = finder(test.tensors, model.tensors)
  const kernels = yield* Kernels
  const quantize = Effect.fnUntraced(function*(graph: Graph, scheme: Scheme, file: string, location: string) {
    const layout = layoutBlob(weightsOf(graph, (weight) => formUnder(scheme, weight, model.facts.head)))
    yield* fs.writeFile(file, new Uint8Array(layout.length))
    yield* Effect.forEach(
      layout.weights,
      ({ codes, form: { bits }, name, scales }) =>
        kernels.quantize({
          source: weights(name),
          bits,
          destination: { file, codes: codes.offset, scales: scales.offset }
        })
    )
    yield* Effect.forEach(
      layout.zeros,
      ({ byte, length, offset }) => kernels.fill({ to: { file, offset }, length, byte })
    )
    return quantizeGraph(graph, { location, layout })
  })
  const out = yield* fs.makeTempDirectoryScoped({ prefix: "build-" })
  const devkit = join(out, "sima_files/devkit")
  const source = join(out, "onnx_files")
  yield* Effect.forEach(
    [devkit, source, join(out, "sima_files/mpk")],
    (folder) => fs.makeDirectory(folder, { recursive: true })
  )
  yield* fs.symlink(test.path, join(source, "weights"))

  const all = decoderPrograms(model.facts.layers)
  for (const [index] of model.facts.layers.entries()) {
    const programs = all.filter((program) => program.index === index && !without.includes(programName(program)))
    const parts = yield* Effect.forEach(
      programs,
      Effect.fnUntraced(function*(program) {
        const float = program.part === "PRE"
          ? model.pre(index, weights)
          : program.part === "CACHE"
          ? model.cache(index, weights)
          : model[program.part === "CONV" ? "conv" : "post"](index, weights, returnLogits ? "logits" : "token")
        const title = programName(program)
        // group and single programs read one blob
        const blob = `${program.part}_${index}.bin`
        const quantized = scheme === undefined ? float : yield* quantize(float, scheme, join(source, blob), blob)
        const graph = change(title, quantized)
        return lowered
          ? yield* target.compile({ name: title, graph, folder: source })
          : { kind: "graph" as const, name: title, graph, folder: source }
      })
    )
    const entries = yield* target.link(`layer_${index}`, parts)
    yield* mpk.write(join(out, `sima_files/mpk/layer_${index}.tar.gz`), entries, "fast")
  }
  const table = weights(model.facts.embedding.tensor)
  const dtype = embeddingDtype(table)
  const { file, length, offset } = table.range
  yield* fs.writeFile(
    join(devkit, "embeddings.npy"),
    Buffer.concat([encodeHeader(descr[dtype], table.shape), readFileSync(file).subarray(offset, offset + length)])
  )
  const config = runtimeConfig(model.facts, {
    maxNumTokens,
    groupSize,
    futureTokenMaskSize: 16,
    returnLogits,
    programs: all.map((program) => {
      const name = programName(program)
      const compile = !without.includes(name)
      return { name, layer: program.index, precision: compile ? "BF16" : undefined, compile, lora: "LORA_DISABLED" }
    }),
    embeddings: { file: "embeddings.npy", dtype, scales: null },
    tokens: { eos: [0], bos: undefined }
  })
  yield* fs.writeFileString(join(out, runtimeConfigPath), encodeRuntimeConfig(config))
  yield* Effect.forEach(
    ["tokenizer.json", "tokenizer_config.json"],
    (file) => fs.copyFile(join(test.path, file), join(devkit, file))
  )
  return { out, test, cache: yield* fs.makeTempDirectoryScoped({ prefix: "cache-" }) }
})

/** What `buildCase` needs beside the platform. */
export const BuildServices = Layer.mergeAll(hostLayer, Mpk.layer, Kernels.layer(1))
