import { Console, Effect } from "effect"
import { intakeLines, tableOf } from "../plan/Intake.ts"
import { type Plan, stageNames } from "../plan/Plan.ts"
import type { CompileRequest } from "../plan/Request.ts"
import type { BuildReport } from "../stage/BuildReport.ts"
import { Compiler } from "../stage/Compiler.ts"
import { freeBytes } from "../stage/Disk.ts"
import { compilerFor } from "../stage/Services.ts"
import { formatBuild, formatPlan } from "./Report.ts"
import { Screen } from "./Screen.ts"
import { verifiedText } from "./VerifiedText.ts"

const kinds = { huggingface: "Hugging Face", gguf: "GGUF", quantized: "quantised before" } as const

/** What will be done, for people. */
const planText = ({ job, steps, warnings }: Plan, diskFree: number | undefined): string =>
  formatPlan({
    model: job.checkpoint.name,
    facts: `${job.model.facts.family}, ${job.model.facts.layers.length} layers, ${kinds[job.checkpoint.kind]}`,
    output: job.request.output,
    target: job.target.name,
    jobs: job.request.jobs,
    maxMemory: job.request.maxMemory,
    diskFree,
    steps,
    intake: intakeLines(job),
    table: tableOf(job),
    warnings
  })

const buildText = (report: BuildReport, request: CompileRequest, peakMemory: number | undefined): string => {
  const names = stageNames.filter((name) => report.steps.some(({ stage }) => stage === name))
  return formatBuild({
    output: request.output,
    archives: report.archives,
    sizes: report.precisions,
    intake: report.intake,
    stages: names.map((name) => {
      const steps = report.steps.filter(({ stage }) => stage === name)
      return {
        name,
        seconds: steps.reduce((total, { seconds }) => total + seconds, 0),
        steps: steps.length,
        reused: steps.filter(({ kept }) => kept).length
      }
    }),
    seconds: report.seconds,
    written: report.written,
    peakMemory,
    verified: report.verification === undefined ? undefined : verifiedText(report.verification),
    files: report.files.map((file) => `${request.output.replace(/[\\/]+$/, "")}/${file}`),
    runnable: request.target === "host" && report.archives > 0
  })
}

/** `llima plan`, and `llima-compile --dry_run`: prints the plan on stdout. */
export const plan = (request: CompileRequest) =>
  Effect.gen(function*() {
    const planned = yield* (yield* Compiler).plan(request)
    const free = yield* Effect.option(freeBytes(request.output))
    yield* Console.log(planText(planned, free._tag === "Some" ? free.value : undefined))
  }).pipe(Effect.provide(compilerFor(request)))

/** `llima-compile`: builds; the summary goes to stderr, stdout has the archives' folder for scripts. */
export const build = (request: CompileRequest) =>
  request.dryRun
    ? plan(request)
    : Effect.gen(function*() {
      const compiler = yield* Compiler
      const screen = yield* Screen
      const report = yield* compiler.compile(request)
      yield* Console.error(buildText(report, request, screen.peakMemory()))
      yield* Console.log(report.output)
    }).pipe(Effect.provide(compilerFor(request)))
