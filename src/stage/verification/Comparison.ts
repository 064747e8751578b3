import { Context, Effect, Fiber, FileSystem, Layer, Path, Schema } from "effect"
import { RuntimeConfig, runtimeConfigPath } from "../../devkit/RuntimeConfig.ts"
import type { Job } from "../../plan/Job.ts"
import { programName } from "../../plan/Parts.ts"
import { compiledOf, paths, programsOf } from "../../plan/Plan.ts"
import { openArchive } from "../../run/Archive.ts"
import { rowReader } from "../../run/Embedding.ts"
import { embeddingTable } from "../../run/EmbeddingFile.ts"
import { Damaged, ProgramsMissing, RunError, Unreadable } from "../../run/RunError.ts"
import { openTokenizer } from "../../run/Tokenizer.ts"
import { divergenceOf } from "../../verify/Compare.ts"
import type { Values } from "../../verify/Messages.ts"
import { Runtime } from "../../verify/Runtime.ts"
import { fullText, quickText } from "../../verify/Text.ts"
import { type Arithmetic, divergences } from "../../verify/Thresholds.ts"
import type { Verification } from "../../verify/Verification.ts"
import { VerificationFailed } from "../../verify/VerificationFailed.ts"
import { workspaceFailure } from "../Disk.ts"
import { forget } from "../Standing.ts"
import { type Activations, anglesOf, maskOf, matrix, rowRange, rowsOf } from "./Activations.ts"
import { checkLayer, checkTensor } from "./Programs.ts"
import { openReference, type ReferenceModel } from "./ReferenceModel.ts"
import { checkTables } from "./Tables.ts"

import type { VerifyError, VerifyOptions } from "../Verifier.ts"

/** Tokens whose predictions are compared: the last ones, so that a large vocabulary costs what a layer costs. */
const ROWS = 8

/** Tokens of "quick" at most. */
const QUICK_TOKENS = 16

/** Tokens of "full" at most, and those whose distributions are compared. */
const FULL_TOKENS = 192
const FULL_ROWS = 64

const configOf = Schema.decodeUnknownEffect(Schema.fromJsonString(RuntimeConfig))

/** The build's own description. */
const readConfig = Effect.fnUntraced(function*(output: string) {
  const fs = yield* FileSystem.FileSystem
  const path = yield* Path.Path
  const file = path.resolve(output, runtimeConfigPath)
  const text = yield* Effect.mapError(fs.readFileString(file), (error) =>
    new RunError({
      path: file,
      reason: new Unreadable({ detail: error.message, advice: `is ${output} the output folder of a finished build?` })
    }))
  return yield* Effect.mapError(
    configOf(text),
    (error) =>
      new RunError({ path: file, reason: new Damaged({ where: "JSON", expected: "format 1", found: error.message }) })
  )
})

/** The rows of the build's own table, `[tokens × hidden]`. */
const builtRows = Effect.fnUntraced(function*(config: RuntimeConfig, devkit: string, ids: ReadonlyArray<number>) {
  const embeddings = yield* embeddingTable(config, devkit)
  const { hidden } = config
  const rows = yield* Effect.try({
    try: () => {
      const read = rowReader({ embeddings, hidden })
      const numbers = new Float32Array(ids.length * hidden)
      ids.forEach((id, at) => read(id, numbers.subarray(at * hidden, (at + 1) * hidden)))
      return numbers
    },
    catch: (cause) =>
      new RunError({
        path: embeddings.file,
        reason: new Unreadable({
          detail: cause instanceof Error ? cause.message : String(cause),
          advice: "run the DEVKIT stage again"
        })
      })
  })
  return matrix(rows, ids.length, hidden)
})

/** A folder for what is unpacked and converted on the way, gone with the scope; what a killed run left there goes first. */
const scratchFolder = Effect.fnUntraced(function*(output: string) {
  const fs = yield* FileSystem.FileSystem
  const path = yield* Path.Path
  const own = path.resolve(output, ".llima")
  return yield* Effect.gen(function*() {
    yield* fs.makeDirectory(own, { recursive: true })
    const old = (yield* fs.readDirectory(own)).filter((name) => name.startsWith("verify-"))
    yield* Effect.forEach(old, (name) => fs.remove(path.join(own, name), { recursive: true, force: true }))
    return yield* fs.makeTempDirectoryScoped({ directory: own, prefix: "verify-" })
  }).pipe(Effect.mapError(workspaceFailure(own)))
})

/** A runtime of its own: the float model and the programs run side by side. */
const ownRuntime = Effect.map(Layer.build(Layer.fresh(Runtime.layer)), Context.get(Runtime))

const f32s = (value: Values | undefined): Float32Array =>
  value?.data instanceof Float32Array ? value.data : new Float32Array()

/** `state` after all tokens but the last. */
const stateBefore = Effect.fnUntraced(function*(
  reference: ReferenceModel,
  index: number,
  given: Activations,
  tokens: number
) {
  const hidden = given["hidden"]
  if (hidden === undefined) return {}
  const { state_out: state } = yield* reference.layer(index, { ...given, hidden: rowRange(hidden, 0, tokens) })
  return state === undefined ? {} : { state }
})

/** The arithmetic with the largest errors in a build. */
const coarsestOf = ({ checkpoint, table }: Job): Arithmetic =>
  (["A_BF16_W_INT4", "A_BF16_W_INT8"] as const).find((one) => table.some(({ choice }) => choice.precision === one)) ??
    (checkpoint.kind === "huggingface" ? "BF16" : "A_BF16_W_INT8")

/** How far the build's own predictions are from the float model's, `[rows × vocabulary]` both. */
const divergenceFrom = (job: Job, found: Values, expected: Values): NonNullable<Verification["divergence"]> => {
  const vocabulary = expected.shape.at(-1) ?? 1
  const { agreeing, kl, rows: positions } = divergenceOf(f32s(found), f32s(expected), vocabulary)
  const { limit } = divergences[coarsestOf(job)]
  return { kl: Number(kl.toPrecision(6)), threshold: limit, positions, agreeing, passed: kl <= limit }
}

/**
 * Every part's program as it lies in its archive, on what the float model has at its inputs. The float model is a layer ahead, so
 * that no more than two layers are held.
 */
export const compareBuild = Effect.fnUntraced(
  function*(job: Job, { accuracy = 4, advance = () => Effect.void, mode, output }: VerifyOptions) {
    const fs = yield* FileSystem.FileSystem
    const path = yield* Path.Path
    const { facts } = job.model
    const config = yield* readConfig(output)
    const devkit = path.dirname(path.resolve(output, runtimeConfigPath))
    const limit = Math.min(mode === "quick" ? QUICK_TOKENS : FULL_TOKENS, config.maxNumTokens)
    const text = mode === "quick" ? quickText : `${quickText}\n${fullText}`
    // its process ends before the memory is needed
    const ids = (yield* Effect.scoped(Effect.flatMap(openTokenizer(devkit), ({ encode }) => encode(text))))
      .slice(0, limit)
    const tokens = ids.length
    const wanted = Math.min(mode === "quick" ? ROWS : FULL_ROWS, tokens)

    const scratch = yield* scratchFolder(output)
    // The float model is what takes the time: it has all cores, the programs what it leaves.
    const cores = navigator.hardwareConcurrency
    const threads = Math.max(1, Math.floor(cores / 2))
    const runtime = yield* ownRuntime
    const reference = yield* openReference(job, { runtime: yield* ownRuntime, scratch, threads: cores })
    const embedded = yield* reference.embed(ids)
    const rows = yield* builtRows(config, devkit, ids)
    // what the build's own programs make of the text, one layer after the other
    let stream: Values | undefined = mode === "full" ? rows : undefined
    let predicted: Values | undefined
    const checks = [
      yield* checkTensor(
        {
          program: "embeddings",
          tensor: "rows",
          arithmetic: config.embeddings.scales === null && job.checkpoint.kind === "huggingface"
            ? "FLOAT"
            : "A_BF16_W_INT8"
        },
        rows,
        embedded
      ),
      ...yield* checkTables(facts, config)
    ]

    /** What enters a layer of the float model beside hidden, by the model's facts. */
    const around = (index: number, count: number): Activations => {
      const layer = facts.layers[index]
      if (layer?.kind === "convolution") {
        const { stateRows, stateWidth } = layer
        return {
          state: matrix(new Float32Array(stateRows * stateWidth), stateRows, stateWidth),
          ...rowsOf(count - Math.min(wanted, count), count)
        }
      }
      return {
        ...anglesOf(facts.ropes.find(({ name }) => name === layer?.rope), 0, count, tokens),
        ...maskOf(layer?.window ?? null, 0, count),
        ...rowsOf(count - Math.min(wanted, count), count)
      }
    }

    const checkBuilt = Effect.fnUntraced(function*(index: number, activations: Activations, before: Activations) {
      const compiled = compiledOf(job, index)
      if (compiled.length === 0) stream = undefined
      else {
        const archive = path.resolve(output, paths.archive(index))
        const { folder, graphs } = yield* Effect.tapError(
          openArchive(archive, scratch),
          () => forget(path.resolve(output), [paths.archive(index)])
        )
        const missing = compiled.map(({ program }) => programName(program)).filter((name) => !graphs.has(name))
        if (missing.length > 0) {
          return yield* new RunError({ path: archive, reason: new ProgramsMissing({ programs: missing, omitted: [] }) })
        }
        const options = { job, config, runtime, threads, accuracy }
        const own = stream === undefined
          ? undefined
          : { ...activations, hidden: stream, ...around(index, tokens) }
        const { checks: found, made } = yield* checkLayer(
          options,
          { index, graphs, folder: scratch },
          activations,
          before,
          own
        )
        checks.push(...found)
        stream = made?.["hidden_out"]
        predicted = made?.["logits"]
        yield* Effect.ignore(fs.remove(path.join(scratch, path.dirname(folder)), { recursive: true, force: true }))
      }
      yield* advance(index)
    })

    // The float model goes one layer ahead; no more than two layers are held.
    let hidden = embedded
    let checking: Fiber.Fiber<void, VerifyError> = yield* Effect.forkScoped(Effect.void)
    let logits: Values | undefined
    for (let index = 0; index < facts.layers.length; index++) {
      const given = { hidden, ...around(index, tokens) }
      const activations = yield* reference.layer(index, given)
      const before = facts.layers[index]?.kind === "convolution" && tokens > 1
        ? yield* stateBefore(reference, index, { hidden, ...around(index, tokens - 1) }, tokens - 1)
        : {}
      yield* Fiber.join(checking)
      checking = yield* Effect.forkScoped(checkBuilt(index, activations, before))
      hidden = activations["hidden_out"] ?? hidden
      logits = activations["logits"]
    }
    yield* Fiber.join(checking)

    const divergence = predicted === undefined || logits === undefined
      ? {}
      : { divergence: divergenceFrom(job, predicted, logits) }
    const verification: Verification = {
      mode,
      tokens,
      checks,
      skipped: facts.layers.flatMap((_, index) =>
        programsOf(job, index).flatMap(({ choice, program }) => choice.compile ? [] : [programName(program)])
      ),
      ...divergence,
      passed: checks.every(({ passed }) => passed) && divergence.divergence?.passed !== false
    }
    if (!verification.passed) return yield* new VerificationFailed({ verification })
    return verification
  },
  Effect.scoped
)
