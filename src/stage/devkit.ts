import { Effect } from "effect"
import { writeEmbeddings } from "../devkit/Embeddings.ts"
import { precisionList, type ProgramChoice } from "../devkit/PrecisionList.ts"
import { pythonFiles } from "../devkit/pythonFiles.ts"
import { encodeRuntimeConfig, json, runtimeConfig } from "../devkit/RuntimeFile.ts"
import { endTokens, madeTokenizer, readTokenizer } from "../devkit/Tokenizer.ts"
import { vlmConfig } from "../devkit/VlmConfig.ts"
import { tableOf } from "../plan/Intake.ts"
import type { Job } from "../plan/Job.ts"
import type { Plan, Step } from "../plan/Plan.ts"
import { shapedOf } from "../plan/Shapes.ts"
import { formatOf } from "../quantize/format/registry.ts"
import type { KernelError } from "../quantize/KernelError.ts"
import { Kernels } from "../quantize/Kernels.ts"
import { schemeOf, schemes } from "../quantize/scheme/registry.ts"
import type { WeightFacts } from "../quantize/WeightFacts.ts"
import { examiner } from "./Remarks.ts"
import type { Stage } from "./Stage.ts"
import { folders, Workspace } from "./Workspace.ts"
import type { WorkspaceError } from "./WorkspaceError.ts"

/** The table as the devkit's files name it; the head's precision where the scheme gives it other bits. */
const choicesOf = (job: Job): ReadonlyArray<ProgramChoice> =>
  tableOf(job).flatMap(({ choice, program }) => {
    const scheme = schemeOf(choice.precision ?? "")
    const last = (program.part === "POST" || program.part === "CONV") &&
      program.index === job.model.facts.layers.length - 1
    const head = last && scheme !== undefined && scheme.headBits !== scheme.bits
      ? schemes.find(({ bits }) => bits === scheme.headBits)?.precision
      : undefined
    return shapedOf(job, program).map(({ name }) => ({
      name,
      layer: program.part === "VISION" ? undefined : program.index,
      precision: choice.precision,
      compile: choice.compile,
      lora: choice.lora,
      ...head === undefined ? {} : { head }
    }))
  })

const at = (name: string) => `${folders.devkit}/${name}`

const run = Effect.fn("devkit.run")(function*(_step: Step, { job }: Plan) {
  const workspace = yield* Workspace
  const kernels = yield* Kernels
  const { checkpoint, model, request, weights } = job
  const write = (name: string, content: string | Uint8Array) => Effect.as(workspace.write(at(name), content), at(name))
  const tokens = yield* Effect.fromResult(
    endTokens(checkpoint.generationConfig, checkpoint.config, model.facts.vocabulary)
  )
  const tokenizer = checkpoint.kind === "gguf"
    ? yield* madeTokenizer(checkpoint.path, checkpoint.made(), model.facts.vocabulary)
    : yield* readTokenizer(checkpoint.path, model.facts.vocabulary)
  const embedding = weights(model.facts.embedding.tensor)
  const looks = examiner()
  const guarded = <E, R>(facts: Effect.Effect<WeightFacts, E, R>) =>
    Effect.flatMap(facts, (found) => looks.examine(embedding, found))
  const { embeddings, files } = yield* writeEmbeddings<KernelError, WorkspaceError, never>(embedding, {
    quantize: request.quantizeEmbeddings,
    form: embedding.coded === undefined ? undefined : formatOf(embedding).form(embedding),
    kernels: {
      copy: (options) => guarded(kernels.copy(options)),
      recode: (options) => guarded(kernels.recode(options)),
      convert: (options) => guarded(kernels.convert(options)),
      quantizeRows: (options) => guarded(kernels.quantizeRows(options))
    },
    publish: (name, fill, bytes) => workspace.publish(at(name), fill, bytes)
  })
  const programs = choicesOf(job)
  const texts: ReadonlyArray<readonly [string, string | Uint8Array]> = [
    [
      "runtime.json",
      encodeRuntimeConfig(runtimeConfig(model.facts, {
        maxNumTokens: request.maxNumTokens,
        groupSize: request.languageGroupSize,
        futureTokenMaskSize: request.futureTokenMaskSize,
        returnLogits: request.returnLogits,
        programs,
        embeddings,
        tokens
      }))
    ],
    ["precision.json", json(precisionList(programs))],
    [
      "vlm_config.json",
      json(vlmConfig(model.facts, {
        modelName: checkpoint.name,
        maxNumTokens: request.maxNumTokens,
        config: checkpoint.config
      }))
    ],
    ...Object.entries(pythonFiles),
    ...tokenizer.map(({ bytes, name }) => [name, bytes] as const)
  ]
  const written = yield* Effect.forEach(texts, ([name, content]) => write(name, content), { concurrency: "unbounded" })
  return { outputs: [...files.map(at), ...written].map((path) => ({ path, shipped: true })), facts: looks.facts() }
})

/** DEVKIT: what drives the programs: configuration, tokenizer, embeddings, the Python runtime. */
export const devkit = { name: "DEVKIT", flag: "devkit", unit: "bytes", pace: 1, run } as const satisfies Stage<
  unknown,
  unknown
>
