import { Console, Effect, Option } from "effect"
import { intakeLines, tableOf } from "../plan/Intake.ts"
import { type Plan, stageNames } from "../plan/Plan.ts"
import type { CompileRequest } from "../plan/Request.ts"
import type { BuildReport } from "../stage/BuildReport.ts"
import { Compiler } from "../stage/Compiler.ts"
import { freeBytes } from "../stage/Disk.ts"
import { inputMissing, type Outlook, peakMemory, roughSeconds, shortfall } from "../stage/Outlook.ts"
import { stages } from "../stage/registry.ts"
import { compilerFor } from "../stage/Services.ts"
import type { PlanRequest } from "./Llima.ts"
import { formatBuild, formatHead, formatPlan, type PlanView } from "./Report.ts"
import { Screen } from "./Screen.ts"
import { remark } from "./Session.ts"
import { verifiedText } from "./VerifiedText.ts"

const kinds = { huggingface: "Hugging Face", gguf: "GGUF", quantized: "quantised before" } as const

/** A plan, what is left to do of it, and the disk's free space, as the texts need them. */
const viewOf = ({ job, warnings }: Plan, outlook: Outlook, diskFree: number | undefined): PlanView => ({
  model: job.checkpoint.name,
  facts: `${job.model.facts.family}, ${job.model.facts.layers.length} layers, ${kinds[job.checkpoint.kind]}`,
  output: job.request.output,
  target: job.target.name,
  jobs: job.request.jobs,
  maxMemory: job.request.maxMemory,
  memory: peakMemory(outlook.todo, job.request),
  seconds: roughSeconds(outlook.todo, job.request),
  diskFree,
  steps: outlook.todo,
  kept: outlook.wanted.length - outlook.todo.length,
  lacking: outlook.lacking,
  intake: intakeLines(job),
  table: tableOf(job),
  warnings
})

/** The request's plan beside its output folder. */
const look = Effect.fnUntraced(function*(request: CompileRequest) {
  const compiler = yield* Compiler
  const planned = yield* compiler.plan(request)
  const outlook = yield* compiler.outlook(planned)
  const free = Option.getOrUndefined(yield* Effect.option(freeBytes(request.output)))
  return { planned, outlook, free, view: viewOf(planned, outlook, free) }
})

const buildText = (report: BuildReport, request: CompileRequest, peakMemory: number | undefined): string => {
  const names = stageNames.filter((name) => report.steps.some(({ stage }) => stage === name))
  return formatBuild({
    output: request.output,
    archives: report.archives,
    // of a build without archives nothing was made of them
    sizes: report.archives > 0 ? report.precisions : [],
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
    lacking: report.lacking.map((stage) => ({
      stage,
      flag: `--${stages.find(({ name }) => name === stage)?.flag ?? ""}`
    })),
    omitted: report.omitted,
    runnable: request.target === "host" && report.archives > 0
  })
}

/** The plan for scripts; sizes in bytes, times in seconds. `problem`: why this machine cannot do it. */
const planJson = (view: PlanView, outlook: Outlook, problem: string | undefined): string =>
  JSON.stringify({
    model: view.model,
    output: view.output,
    target: view.target,
    jobs: view.jobs,
    memory: view.memory,
    maxMemory: view.maxMemory,
    disk: outlook.todo.reduce((total, { writes }) => total + writes, 0),
    diskFree: view.diskFree ?? null,
    seconds: view.seconds,
    steps: outlook.todo.map(({ id, memory, reads, stage, writes }) => ({ id, stage, reads, writes, memory })),
    kept: view.kept,
    missing: view.lacking,
    source: view.intake,
    precision: view.table.map(({ choice: { compile, lora, precision }, program: { index, isGroup, part } }) => ({
      part,
      isGroup,
      index,
      precision: precision ?? null,
      compile,
      lora
    })),
    warnings: view.warnings,
    problem: problem ?? null
  })

/** `llima plan`, and `llima-compile --dry_run`: prints the plan on stdout; fails where this machine cannot do it. */
export const plan = ({ json, request }: PlanRequest) =>
  Effect.gen(function*() {
    const { free, outlook, planned, view } = yield* look(request)
    const problem = inputMissing(planned, outlook) ?? shortfall(planned, outlook, request.output, free ?? Infinity)
    yield* Console.log(json ? planJson(view, outlook, problem?.message) : formatPlan(view))
    if (problem !== undefined) return yield* problem
  }).pipe(Effect.provide(compilerFor(request)))

/** `llima-compile`: builds; plan and summary go to stderr, stdout has the output folder for scripts. */
export const build = (request: CompileRequest) =>
  request.dryRun
    ? plan({ request, json: false })
    : Effect.gen(function*() {
      const screen = yield* Screen
      const { planned, view } = yield* look(request)
      yield* remark(formatHead(view))
      const report = yield* (yield* Compiler).build(planned)
      yield* remark(buildText(report, request, screen.peakMemory()))
      yield* Console.log(report.output)
    }).pipe(Effect.provide(compilerFor(request)))
