import { Effect, FileSystem, Option } from "effect"
import { tableOf } from "../plan/Intake.ts"
import { type Job } from "../plan/Job.ts"
import { programName } from "../plan/Parts.ts"
import type { Plan } from "../plan/Plan.ts"
import type { BuildReport } from "./BuildReport.ts"
import { workspaceFailure } from "./Disk.ts"
import { fingerprint } from "./Fingerprint.ts"
import { hostFacts } from "./Host.ts"
import { type Provenance, provenancePath, provenanceText, readProvenance, reportPath } from "./Provenance.ts"
import { sum } from "./report/Units.ts"
import { precisionReports, type ProgramSize } from "./Sizes.ts"
import { sha256Of } from "./Stamp.ts"
import { version } from "./Version.ts"
import { Workspace } from "./Workspace.ts"

const byName = <A>(name: (item: A) => string) => (a: A, b: A): number =>
  name(a) < name(b) ? -1 : name(a) > name(b) ? 1 : 0

const fileName = (path: string): string => path.split(/[\\/]/).at(-1) ?? path

/** What is shipped, as the stamps of the steps that made it tell. */
const artifactsOf = Effect.fnUntraced(function*({ steps }: Plan) {
  const workspace = yield* Workspace
  const makers = steps.filter(({ stage }) => stage === "DEVKIT" || stage === "COMPILE")
  const stamps = yield* Effect.forEach(makers, ({ id }) => workspace.stamp(id))
  const outputs = stamps.flatMap(Option.toArray).flatMap((stamp) => stamp.outputs)
  const artifacts = yield* Effect.forEach(
    outputs,
    Effect.fnUntraced(function*({ bytes, path, sha256 }) {
      const file = yield* workspace.at(path)
      return { path, bytes, sha256: sha256 ?? (yield* Effect.mapError(sha256Of(file), workspaceFailure(file))) }
    })
  )
  return artifacts.sort(byName(({ path }) => path))
})

/** The files that were read, and the configuration file, by what is in them. */
const sourceFiles = Effect.fnUntraced(function*({ checkpoint: { files } }: Job) {
  const found = yield* Effect.forEach(
    files,
    ({ path }) =>
      Effect.map(
        Effect.mapError(fingerprint(path), workspaceFailure(path)),
        (identity) => ({ name: fileName(path), ...identity })
      )
  )
  return found.sort(byName(({ name }) => name))
})

const configurationOf = Effect.fnUntraced(function*({ request: { configurationFile: path } }: Job) {
  if (path === undefined) return null
  return { sha256: Option.getOrNull(yield* Effect.option(sha256Of(path))) }
})

const stepsOf = Effect.fnUntraced(function*({ steps }: Plan, report: BuildReport) {
  const workspace = yield* Workspace
  const told = new Map(report.steps.map((step) => [step.id, step]))
  return yield* Effect.forEach(
    steps,
    Effect.fnUntraced(function*({ id, layer, stage }) {
      const { kept, seconds } = told.get(id) ?? { kept: true, seconds: 0 }
      const before = kept ? Option.getOrUndefined(yield* workspace.stamp(id))?.seconds : seconds
      return { id, stage, layer: layer ?? null, kept, seconds: before ?? null }
    })
  )
})

const sizesOf = (job: Job, programs: ReadonlyArray<ProgramSize>): Pick<Provenance, "parts" | "layers" | "weights"> => {
  const known = new Map(programs.map((one) => [one.program, one]))
  return {
    parts: job.table.map(({ program: { index, isGroup, part }, program }) => {
      const name = programName(program)
      const one = known.get(name)
      return {
        program: name,
        layer: index,
        part,
        phase: isGroup ? "group" : "single",
        precision: one?.precision ?? null,
        before: sum(one?.weights.map(({ before }) => before) ?? []),
        after: sum(one?.weights.map(({ after }) => after) ?? [])
      }
    }),
    layers: [...job.model.facts.layers.keys()].flatMap((layer) =>
      precisionReports(programs.filter((one) => one.layer === layer)).map((size) => ({ layer, ...size }))
    ),
    weights: precisionReports(programs)
  }
}

const provenanceOf = Effect.fnUntraced(function*(
  plan: Plan,
  report: BuildReport,
  { programs, started }: { readonly programs: ReadonlyArray<ProgramSize>; readonly started: number }
) {
  const { job } = plan
  const { checkpoint, model, request } = job
  const { folder, peakMemory, ...host } = yield* hostFacts
  const count = (wanted: BuildReport["intake"][number]["kind"]) =>
    report.intake.filter(({ kind }) => kind === wanted).length
  const provenance: Provenance = {
    format: 1,
    tool: { name: "llima-compile", version },
    source: {
      kind: checkpoint.kind,
      name: checkpoint.name,
      family: model.facts.family,
      layers: model.facts.layers.length,
      files: yield* sourceFiles(job)
    },
    request: {
      target: request.target,
      configuration: yield* configurationOf(job),
      python: request.python ?? null,
      maxNumTokens: request.maxNumTokens,
      languageGroupSize: request.languageGroupSize,
      futureTokenMaskSize: request.futureTokenMaskSize,
      imageHeight: request.imageHeight ?? null,
      imageWidth: request.imageWidth ?? null,
      enableFilterSharing: request.enableFilterSharing,
      quantizeEmbeddings: request.quantizeEmbeddings,
      returnLogits: request.returnLogits,
      loras: request.loras.map(({ name }) => ({ name })),
      loraRank: request.loraRank ?? null,
      quality: request.quality,
      verify: request.verify,
      keepQuantized: request.keepQuantized,
      pack: request.pack
    },
    precision: tableOf(job).map(({ choice: { compile, lora, precision }, program }) => ({
      program: programName(program),
      precision: precision ?? null,
      compile,
      lora
    })),
    ...sizesOf(job, programs),
    ...report.intake.length === 0 ? {} : {
      intake: {
        exact: count("exact"),
        converted: count("converted"),
        requantised: count("requantised"),
        tensors: report.intake
      }
    },
    ...report.verification === undefined ? {} : { verification: report.verification },
    warnings: report.warnings,
    artifacts: yield* artifactsOf(plan),
    run: {
      started: new Date(started).toISOString(),
      seconds: report.seconds,
      peakMemory,
      written: report.written,
      steps: yield* stepsOf(plan, report),
      model: request.modelPath,
      configurationFile: request.configurationFile ?? null,
      loraPaths: request.loras.map(({ path }) => path),
      output: request.output,
      folder,
      jobs: request.jobs,
      maxMemory: request.maxMemory,
      resume: request.resume,
      force: request.force,
      host
    }
  }
  return provenance
})

/** The page, and the library of its plots: 0.1 s that no other command waits for. */
export const loadPage = Effect.promise(() => import("./report/Page.ts"))

/** Removes what told of an earlier build: from here on the folder is no finished one. */
export const removeBuildFiles = Effect.fn("BuildFiles.remove")(function*() {
  const workspace = yield* Workspace
  const fs = yield* FileSystem.FileSystem
  for (const file of [provenancePath, reportPath]) {
    const path = yield* workspace.at(file)
    yield* Effect.mapError(fs.remove(path, { force: true }), workspaceFailure(path))
  }
})

/** What is there tells the same already, but for the run: that of the run that made it is kept. */
const unchanged = Effect.fnUntraced(function*(provenance: Provenance) {
  const workspace = yield* Workspace
  const fs = yield* FileSystem.FileSystem
  const report = yield* Effect.orElseSucceed(fs.exists(yield* workspace.at(reportPath)), () => false)
  const before = yield* Effect.option(readProvenance(workspace.root))
  return report && Option.isSome(before) &&
    provenanceText({ ...before.value, run: provenance.run }) === provenanceText(provenance)
})

/** Writes `build.json` and `report.html` of a build whose every program and devkit file is there, unless nothing was done. */
export const writeBuildFiles = Effect.fn("BuildFiles.write")(function*(
  plan: Plan,
  report: BuildReport,
  facts: { readonly programs: ReadonlyArray<ProgramSize>; readonly started: number }
) {
  const workspace = yield* Workspace
  const provenance = yield* provenanceOf(plan, report, facts)
  if (report.steps.every(({ kept }) => kept) && (yield* unchanged(provenance))) return
  const { page } = yield* loadPage
  yield* workspace.write(provenancePath, provenanceText(provenance))
  yield* workspace.write(reportPath, page(provenance))
})
