import { Effect, Option } from "effect"
import { Argument, Command, Flag } from "effect/cli"
import type { CompileRequest, RunRequest } from "../plan/Request.ts"
import { handleCompile } from "./Compile.ts"
import { compileFlags, logFlags, off, outArgument, pathOption } from "./Flags.ts"
import { NotBuilt } from "./NotBuilt.ts"
import { checkCompile, usage } from "./Options.ts"
import { runCommand } from "./Run.ts"
import { session } from "./Session.ts"
import { pathArgument } from "./Values.ts"

/** What `llima plan` is asked. */
export interface PlanRequest {
  readonly request: CompileRequest
  /** print one JSON object instead of text */
  readonly json: boolean
}

/** What `llima inspect` is asked: a checkpoint, an archive, or a build's output folder. */
export interface InspectRequest {
  readonly path: string
  /** print one JSON object instead of text */
  readonly json: boolean
}

/** What `llima verify` is asked: a build, and the checkpoint that it was made of. */
export interface VerifyRequest {
  /** a build's output folder */
  readonly out: string
  /** undefined: the one that the build names */
  readonly model: string | undefined
  readonly mode: "quick" | "full"
  /** print one JSON object instead of text */
  readonly json: boolean
}

/** What `llima report` is asked. */
export interface ReportRequest {
  /** a build's output folder */
  readonly out: string
  /** the page's file; undefined: report.html in the output folder */
  readonly file: string | undefined
}

/** The work behind one command of `llima`. */
export type Handler<Request, E, R> = (request: Request) => Effect.Effect<void, E, R>

const notBuilt = (name: string, description: string, instead: string) =>
  Command.make(name, {
    out: outArgument,
    ...logFlags
  }, (options) => session(options, Effect.fail(new NotBuilt({ command: `llima ${name}`, instead })), "")).pipe(
    Command.withDescription(`${description} (not built yet)`)
  )

/** `llima`: the services of the compiler, one command each. */
export const llimaCommand = <E1, R1, E2, R2, E3, R3, E4, R4, E5, R5>({ inspect, plan, report, run, verify }: {
  readonly plan: Handler<PlanRequest, E1, R1>
  readonly run: Handler<RunRequest, E2, R2>
  readonly inspect: Handler<InspectRequest, E3, R3>
  readonly verify: Handler<VerifyRequest, E4, R4>
  readonly report: Handler<ReportRequest, E5, R5>
}) =>
  Command.make("llima").pipe(
    Command.withDescription("Looks at models and builds, and runs them on this machine."),
    Command.withSubcommands([
      Command.make(
        "plan",
        { ...compileFlags, json: off("json", "Print one JSON object") },
        (options) => handleCompile((request) => plan({ request, json: options.json }))(options)
      ).pipe(
        Command.validate((options) => checkCompile(options)),
        Command.withDescription(
          "Prints what llima-compile would do with these options: steps, sizes, memory, precisions. Leaves with 7 where this machine cannot do it."
        ),
        Command.withExamples([
          { command: "llima plan Llama-3.2-3B-Instruct -c precision.py" },
          {
            command: "llima plan Llama-3.2-3B-Instruct -o out --resume --json",
            description: "what is left to do, for scripts"
          }
        ])
      ),
      Command.make("inspect", {
        path: pathArgument("PATH", "either").pipe(
          Argument.withDescription("Checkpoint, archive, or output folder of a build")
        ),
        json: off("json", "Print one JSON object"),
        ...logFlags
      }, (options) => session(options, inspect({ path: options.path, json: options.json }), "")).pipe(
        Command.validate(({ path }) => path.trim() === "" ? Effect.fail(usage(["PATH is empty"])) : Effect.void),
        Command.withDescription("Says what a checkpoint, an archive or a build holds."),
        Command.withExamples([{ command: "llima inspect out/sima_files/mpk/layer_0.tar.gz" }])
      ),
      runCommand(run),
      Command.make("verify", {
        out: outArgument,
        mode: Argument.Literals("MODE", ["quick", "full"]).pipe(
          Argument.withDescription(
            "quick: every program on a short text; full: longer text, and the distribution at the end [default: quick]"
          ),
          Argument.withDefault("quick" as const)
        ),
        model: pathOption(
          "model",
          "either",
          "MODEL_PATH",
          "The checkpoint that the build was made of",
          "as build.json names it"
        ),
        json: off("json", "Print one JSON object"),
        ...logFlags
      }, (options) =>
        session(
          options,
          verify({
            out: options.out,
            mode: options.mode,
            model: Option.getOrUndefined(options.model),
            json: options.json
          }),
          ""
        )).pipe(
          Command.validate(({ model, out }) => {
            const problems = [
              ...out.trim() === "" ? ["OUT is empty"] : [],
              ...Option.getOrElse(model, () => "given").trim() === "" ? ["--model is empty"] : []
            ]
            return problems.length > 0 ? Effect.fail(usage(problems)) : Effect.void
          }),
          Command.withDescription(
            "Compares every program of a build with the float model on real activations. Leaves with 6 when one misses its limit."
          ),
          Command.withExamples([{ command: "llima verify out full --model Llama-3.2-3B-Instruct" }])
        ),
      notBuilt("serve", "Serves a build over HTTP", "llima run OUT --json answers one prompt"),
      Command.make("report", {
        out: outArgument,
        file: pathOption("output", "file", "FILE", "Where the page goes", "report.html in OUT").pipe(
          Flag.withAlias("o")
        ),
        ...logFlags
      }, (options) => session(options, report({ out: options.out, file: Option.getOrUndefined(options.file) }), ""))
        .pipe(
          Command.validate(({ file, out }) => {
            const problems = [
              ...out.trim() === "" ? ["OUT is empty"] : [],
              ...Option.getOrElse(file, () => "given").trim() === "" ? ["--output is empty"] : []
            ]
            return problems.length > 0 ? Effect.fail(usage(problems)) : Effect.void
          }),
          Command.withDescription(
            "Renders a build's report again, from its build.json: one page with errors, sizes and times. Prints where it is."
          ),
          Command.withExamples([{ command: "llima report out -o SmolLM2.html" }])
        )
    ])
  )
