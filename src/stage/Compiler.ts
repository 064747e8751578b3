import { Clock, Context, Effect, Fiber, FileSystem, Layer, Option, Path, Schema } from "effect"
import type { ChildProcessSpawner } from "effect/process/ChildProcessSpawner"
import { Mpk } from "../pack/Mpk.ts"
import { type Plan, planOf, PROCESS_MEMORY, type Step } from "../plan/Plan.ts"
import type { PrecisionError } from "../plan/PrecisionError.ts"
import type { CompileRequest } from "../plan/Request.ts"
import { Kernels } from "../quantize/Kernels.ts"
import type { SourceError } from "../source/SourceError.ts"
import { Target } from "../target/Target.ts"
import { Verification } from "../verify/Verification.ts"
import { loadPage, removeBuildFiles, writeBuildFiles } from "./BuildFiles.ts"
import type { BuildReport, StepReport } from "./BuildReport.ts"
import { intakeOf } from "./Intake.ts"
import { amountOf, inputMissing, type Outlook, outlookOf, shortfall } from "./Outlook.ts"
import { StepsFailed, walk } from "./Pipeline.ts"
import { prepare } from "./Prepare.ts"
import { Progress } from "./Progress.ts"
import { provenancePath, reportPath } from "./Provenance.ts"
import { stages } from "./registry.ts"
import { remarksOf } from "./Remarks.ts"
import { precisionReports, programSizes } from "./Sizes.ts"
import type { StepResult } from "./Stage.ts"
import type { InputMissing, NotSupported, OutOfBudget, SharingNeeded } from "./StageError.ts"
import { standing } from "./Standing.ts"
import type { Verifier } from "./Verifier.ts"
import { folders, type StepOutput, Workspace } from "./Workspace.ts"
import type { WorkspaceError } from "./WorkspaceError.ts"

/** Every way in which planning fails. */
export type PlanError = SourceError | PrecisionError | NotSupported | SharingNeeded

/** Every way in which a build fails. */
export type CompileError = PlanError | WorkspaceError | OutOfBudget | InputMissing | StepsFailed

const sum = (numbers: ReadonlyArray<number>): number => numbers.reduce((total, n) => total + n, 0)

const verificationOf = Schema.decodeUnknownOption(Verification)

/** Removes what a step wrote under other options and no longer writes. */
const removeOld = Effect.fnUntraced(function*(step: string, outputs: ReadonlyArray<StepOutput>) {
  const workspace = yield* Workspace
  const fs = yield* FileSystem.FileSystem
  const before = Option.toArray(yield* workspace.stamp(step)).flatMap((stamp) => stamp.outputs)
  const now = new Set(yield* Effect.forEach(outputs, ({ path }) => workspace.at(path)))
  const old = (yield* Effect.forEach(before, ({ path }) => workspace.at(path))).filter((file) => !now.has(file))
  yield* Effect.forEach(old, (file) => Effect.ignore(fs.remove(file, { force: true })))
})

/** What the steps' stamps tell: of tensors that were quantised before, by name, each once, and of weights that are unlikely. */
const toldIn = Effect.fnUntraced(function*({ steps }: Plan) {
  const workspace = yield* Workspace
  const stamps = yield* Effect.forEach(steps, ({ id }) => workspace.stamp(id))
  const facts = stamps.flatMap(Option.toArray).map((stamp) => stamp.facts)
  const taken = facts.flatMap((one) => Option.toArray(intakeOf(one))).flatMap(({ intake }) => intake)
  const distinct = new Map(taken.map((one) => [`${one.tensor} ${one.kind}`, one]))
  return {
    intake: [...distinct.values()].sort((a, b) => a.tensor < b.tensor ? -1 : a.tensor > b.tensor ? 1 : 0),
    remarks: [...new Set(facts.flatMap((one) => Option.toArray(remarksOf(one))).flatMap(({ remarks }) => remarks))]
  }
})

/** Runs a plan in its output folder: what is fresh is kept, the rest is made, leftovers of other plans are swept. */
const build = Effect.fn("Compiler.build")(function*(plan: Plan) {
  const workspace = yield* Workspace
  const progress = yield* Progress
  const { request } = plan.job
  const begun = yield* Clock.currentTimeMillis
  yield* Effect.forEach(plan.warnings, (warning) => Effect.logWarning(warning))
  const outlook = yield* outlookOf(plan, ({ id, key }) => workspace.fresh(id, key))
  const { kept, lacking, todo, wanted } = outlook
  const problem = inputMissing(plan, outlook) ?? shortfall(plan, outlook, workspace.root, yield* workspace.freeBytes)
  if (problem !== undefined) return yield* problem
  if (todo.length > 0) yield* removeBuildFiles()
  yield* progress.plan(stages.flatMap(({ name, pace, unit }) => {
    const steps = wanted.filter(({ stage }) => stage === name)
    const total = sum(steps.map(amountOf))
    return steps.length === 0 ? [] : [{ name, unit, total, weight: total * pace }]
  }))
  yield* Effect.forEach(
    wanted.filter(({ id }) => kept.has(id)),
    (step) => progress.advance(step.stage, amountOf(step), { reused: true })
  )

  const remaining = new Map(stages.map(({ name }) => [name, todo.filter(({ stage }) => stage === name).length]))
  const recordings: Array<Fiber.Fiber<void, WorkspaceError>> = []
  const runStep = (step: Step) =>
    Effect.gen(function*() {
      const started = yield* Clock.currentTimeMillis
      // says that the stage has begun
      yield* progress.advance(step.stage, 0)
      const stage = stages.find(({ name }) => name === step.stage)
      if (stage === undefined) return yield* Effect.die(new Error(`no stage ${step.stage}`))
      const { facts, outputs }: StepResult = yield* stage.run(step, plan)
      yield* removeOld(step.id, outputs)
      // Syncing waits for the disk; the steps that come after need not. A step is finished, for --resume, once it is recorded.
      const ended = yield* Clock.currentTimeMillis
      const seconds = (ended - started) / 1000
      const recording = yield* Effect.forkScoped(
        Effect.uninterruptible(workspace.record(step.id, step.key, outputs, facts, seconds))
      )
      recordings.push(recording)
      if (!("tells" in stage)) yield* progress.advance(step.stage, amountOf(step))
      const left = (remaining.get(step.stage) ?? 1) - 1
      remaining.set(step.stage, left)
      if (left === 0) yield* progress.done(step.stage)
      return { id: step.id, stage: step.stage, kept: false, seconds } satisfies StepReport
    }).pipe(Effect.withSpan(step.id))
  const whole = lacking.length === 0
  const made = yield* walk(todo, { jobs: request.jobs, memory: request.maxMemory - PROCESS_MEMORY }, runStep).pipe(
    // the disk is at work now, and this thread is not
    Effect.tap(() => whole && todo.length > 0 ? Effect.forkScoped(loadPage) : Effect.void),
    // what is done is recorded even when another step fails
    Effect.ensuring(Effect.suspend(() => Fiber.awaitAll(recordings)))
  )
  yield* Fiber.joinAll(recordings)
  yield* workspace.sweep(plan.steps.map(({ id }) => id))
  if (request.keepQuantized === "none" && wanted.length === plan.steps.length) {
    const fs = yield* FileSystem.FileSystem
    yield* Effect.ignore(fs.remove(yield* workspace.at(folders.quantized), { recursive: true, force: true }))
  }
  const ended = yield* Clock.currentTimeMillis
  const old = wanted.filter(({ id }) => kept.has(id)).map(({ id, stage }) => ({ id, stage, kept: true, seconds: 0 }))
  const verified = yield* workspace.stamp("verify")
  const { intake, remarks } = yield* toldIn(plan)
  const programs = programSizes(plan.job)
  const report: BuildReport = {
    output: workspace.root,
    steps: [...old, ...made],
    precisions: precisionReports(programs),
    archives: wanted.filter(({ stage }) => stage === "COMPILE").length,
    written: sum(todo.map(({ writes }) => writes)),
    seconds: (ended - begun) / 1000,
    warnings: [...plan.warnings, ...remarks],
    intake,
    verification: wanted.some(({ stage }) => stage === "VERIFY")
      ? Option.getOrUndefined(Option.flatMap(verified, ({ facts }) => verificationOf(facts)))
      : undefined,
    lacking,
    omitted: plan.job.table.filter(({ choice }) => !choice.compile).length,
    files: whole ? [provenancePath, reportPath] : []
  }
  if (whole) yield* writeBuildFiles(plan, report, { programs, started: begun })
  return report
})

/** The compiler: what a request would do, and doing it. */
export class Compiler extends Context.Service<Compiler, {
  /** Reads the source's headers and the configuration file; writes nothing. */
  readonly plan: (request: CompileRequest) => Effect.Effect<Plan, PlanError>
  /** What is left to do of a plan in its output folder as it stands; writes nothing. */
  readonly outlook: (plan: Plan) => Effect.Effect<Outlook>
  /** Does what is left to do of a plan. What was finished stays, whatever happens. */
  readonly build: (plan: Plan) => Effect.Effect<BuildReport, CompileError>
  /** Plans, and builds into the request's output folder. */
  readonly compile: (request: CompileRequest) => Effect.Effect<BuildReport, CompileError>
}>()("llima/stage/Compiler") {
  static readonly layer = Layer.effect(
    Compiler,
    Effect.gen(function*() {
      const services = yield* Effect.context<
        FileSystem.FileSystem | Path.Path | ChildProcessSpawner | Target | Kernels | Mpk | Progress | Verifier
      >()
      const plan = Effect.fn("Compiler.plan")(
        function*(request: CompileRequest) {
          return planOf(yield* prepare(request))
        },
        Effect.provideContext(services)
      )
      const outlook = Effect.fn("Compiler.outlook")(
        function*(planned: Plan) {
          const path = yield* Path.Path
          const root = path.resolve(planned.job.request.output)
          return yield* outlookOf(planned, ({ id, key }) => Effect.map(standing(root, id, key), Option.isSome))
        },
        Effect.provideContext(services)
      )
      const make = (planned: Plan) => {
        const { force, output } = planned.job.request
        return Effect.provide(Effect.scoped(build(planned)), Workspace.layer(output, { force })).pipe(
          Effect.provideContext(services)
        )
      }
      const compile = Effect.fn("Compiler.compile")(function*(request: CompileRequest) {
        return yield* make(yield* plan(request))
      })
      return Compiler.of({ plan, outlook, build: make, compile })
    })
  )
}
