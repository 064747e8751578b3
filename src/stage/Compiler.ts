import { Clock, Context, Effect, Fiber, FileSystem, Layer, Option, Path, Schema } from "effect"
import type { ChildProcessSpawner } from "effect/process/ChildProcessSpawner"
import { Mpk } from "../pack/Mpk.ts"
import { type Plan, planOf, quantizingStage, type Step } from "../plan/Plan.ts"
import type { PrecisionError } from "../plan/PrecisionError.ts"
import type { CompileRequest } from "../plan/Request.ts"
import { Kernels } from "../quantize/Kernels.ts"
import type { SourceError } from "../source/SourceError.ts"
import { Target } from "../target/Target.ts"
import { Verification } from "../verify/Verification.ts"
import { loadPage, removeBuildFiles, writeBuildFiles } from "./BuildFiles.ts"
import type { BuildReport, StepReport } from "./BuildReport.ts"
import { intakeOf } from "./Intake.ts"
import { StepsFailed, walk } from "./Pipeline.ts"
import { prepare } from "./Prepare.ts"
import { Progress } from "./Progress.ts"
import { provenancePath, reportPath } from "./Provenance.ts"
import { stages } from "./registry.ts"
import { precisionReports, programSizes } from "./Sizes.ts"
import type { StepResult } from "./Stage.ts"
import { InputMissing, type NotSupported, OutOfBudget } from "./StageError.ts"
import type { Verifier } from "./Verifier.ts"
import { folders, type StepOutput, Workspace } from "./Workspace.ts"
import type { WorkspaceError } from "./WorkspaceError.ts"

/** Every way in which planning fails. */
export type PlanError = SourceError | PrecisionError | NotSupported

/** Every way in which a build fails. */
export type CompileError = PlanError | WorkspaceError | OutOfBudget | InputMissing | StepsFailed

const sum = (numbers: ReadonlyArray<number>): number => numbers.reduce((total, n) => total + n, 0)

const verificationOf = Schema.decodeUnknownOption(Verification)

/** The steps that the request's stage flags ask for. */
const selected = ({ job, steps }: Plan): ReadonlyArray<Step> => {
  const names: ReadonlyArray<string> = stages
    .filter(({ flag }) => flag === undefined || job.request.stages.some((wanted) => wanted === flag))
    .map(({ name }) => name)
  return steps.filter(({ stage }) => names.includes(stage))
}

const check = Effect.fn("Compiler.check")(function*({ job }: Plan, todo: ReadonlyArray<Step>) {
  const workspace = yield* Workspace
  const needed = sum(todo.map(({ writes }) => writes))
  const free = yield* workspace.freeBytes
  if (needed > free) {
    return yield* new OutOfBudget({
      what: "disk",
      where: workspace.root,
      needed,
      found: free,
      advice: "free some, or choose another folder with --output"
    })
  }
  const largest = Math.max(0, ...todo.map(({ memory }) => memory))
  if (largest > job.request.maxMemory) {
    return yield* new OutOfBudget({
      what: "memory",
      where: "the largest step",
      needed: largest,
      found: job.request.maxMemory,
      advice: "raise --max_memory"
    })
  }
})

/** Removes what a step wrote under other options and no longer writes. */
const removeOld = Effect.fnUntraced(function*(step: string, outputs: ReadonlyArray<StepOutput>) {
  const workspace = yield* Workspace
  const fs = yield* FileSystem.FileSystem
  const before = Option.toArray(yield* workspace.stamp(step)).flatMap((stamp) => stamp.outputs)
  const now = new Set(yield* Effect.forEach(outputs, ({ path }) => workspace.at(path)))
  const old = (yield* Effect.forEach(before, ({ path }) => workspace.at(path))).filter((file) => !now.has(file))
  yield* Effect.forEach(old, (file) => Effect.ignore(fs.remove(file, { force: true })))
})

/** What the steps' stamps tell of tensors that were quantised before, by name, each once. */
const intakeIn = Effect.fnUntraced(function*({ steps }: Plan) {
  const workspace = yield* Workspace
  const found = yield* Effect.forEach(steps, ({ id }) => workspace.stamp(id))
  const all = found.flatMap((stamp) =>
    Option.match(Option.flatMap(stamp, ({ facts }) => intakeOf(facts)), {
      onNone: () => [],
      onSome: ({ intake }) => [...intake]
    })
  )
  const distinct = new Map(all.map((one) => [`${one.tensor} ${one.kind}`, one]))
  return [...distinct.values()].sort((a, b) => a.tensor < b.tensor ? -1 : a.tensor > b.tensor ? 1 : 0)
})

/** Runs a plan in its output folder: what is fresh is kept, the rest is made, leftovers of other plans are swept. */
/** What a step counts in its stage's progress. */
const amountOf = ({ reads, stage, writes }: Step): number =>
  stages.find(({ name }) => name === stage)?.unit === "steps" ? 1 : reads + writes

const build = Effect.fn("Compiler.build")(function*(plan: Plan) {
  const workspace = yield* Workspace
  const progress = yield* Progress
  const { request } = plan.job
  const begun = yield* Clock.currentTimeMillis
  yield* Effect.forEach(plan.warnings, (warning) => Effect.logWarning(warning))
  const wanted = selected(plan)
  const fresh = new Set<string>()
  for (const { id, key } of plan.steps) {
    if ((request.resume || !wanted.some((step) => step.id === id)) && (yield* workspace.fresh(id, key))) fresh.add(id)
  }
  if (request.keepQuantized === "none") {
    // Their outputs were dropped on purpose; when all that was made of them is fresh, nothing needs them any more.
    for (
      const { id } of plan.steps.filter(({ stage }) => stage === quantizingStage[plan.job.checkpoint.kind].name)
        .toReversed()
    ) {
      const users = plan.steps.filter(({ needs }) => needs.includes(id))
      if (users.every((user) => fresh.has(user.id))) fresh.add(id)
    }
  }
  // what is made again is looked at again, whatever the stamp says of the same plan
  for (const { id, needs } of plan.steps.filter(({ stage }) => stage === "VERIFY")) {
    if (needs.some((need) => !fresh.has(need))) fresh.delete(id)
  }
  const todo = wanted.filter(({ id }) => !fresh.has(id))
  for (const step of todo) {
    for (const need of step.needs) {
      if (fresh.has(need) || todo.some(({ id }) => id === need)) continue
      const maker = plan.steps.find(({ id }) => id === need)
      const stage = stages.find(({ name }) => name === maker?.stage)
      return yield* new InputMissing({
        step: step.id,
        input: need,
        stage: maker?.stage ?? "",
        flag: `--${stage?.flag ?? ""}`
      })
    }
  }
  yield* check(plan, todo)
  if (todo.length > 0) yield* removeBuildFiles()
  yield* progress.plan(stages.flatMap(({ name, pace, unit }) => {
    const steps = wanted.filter(({ stage }) => stage === name)
    const total = sum(steps.map(amountOf))
    return steps.length === 0 ? [] : [{ name, unit, total, weight: total * pace }]
  }))
  yield* Effect.forEach(
    wanted.filter(({ id }) => fresh.has(id)),
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
  const whole = plan.steps.every(({ id, stage }) =>
    stage === "VERIFY" || fresh.has(id) || todo.some((step) => step.id === id)
  )
  const made = yield* walk(todo, { jobs: request.jobs, memory: request.maxMemory }, runStep).pipe(
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
  const kept = wanted.filter(({ id }) => fresh.has(id)).map(({ id, stage }) => ({ id, stage, kept: true, seconds: 0 }))
  const verified = yield* workspace.stamp("verify")
  const intake = yield* intakeIn(plan)
  const programs = programSizes(plan.job)
  const report: BuildReport = {
    output: workspace.root,
    steps: [...kept, ...made],
    precisions: precisionReports(programs),
    archives: wanted.filter(({ stage }) => stage === "COMPILE").length,
    written: sum(todo.map(({ writes }) => writes)),
    seconds: (ended - begun) / 1000,
    warnings: plan.warnings,
    intake,
    verification: wanted.some(({ stage }) => stage === "VERIFY")
      ? Option.getOrUndefined(Option.flatMap(verified, ({ facts }) => verificationOf(facts)))
      : undefined,
    files: whole ? [provenancePath, reportPath] : []
  }
  if (whole) yield* writeBuildFiles(plan, report, { programs, started: begun })
  return report
})

/** The compiler: what a request would do, and doing it. */
export class Compiler extends Context.Service<Compiler, {
  /** Reads the source's headers and the configuration file; writes nothing. */
  readonly plan: (request: CompileRequest) => Effect.Effect<Plan, PlanError>
  /** Builds into the request's output folder. What was finished stays, whatever happens. */
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
      const compile = Effect.fn("Compiler.compile")(
        function*(request: CompileRequest) {
          const planned = planOf(yield* prepare(request))
          return yield* Effect.provide(
            Effect.scoped(build(planned)),
            Workspace.layer(request.output, { force: request.force })
          )
        },
        Effect.provideContext(services)
      )
      return Compiler.of({ plan, compile })
    })
  )
}
