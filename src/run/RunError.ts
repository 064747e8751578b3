import { Runtime, Schema } from "effect"
import { CliError } from "effect/cli"
import { GraphRefused, NotInstalled, RunFailed, ThreadLost } from "../verify/RuntimeError.ts"
import { programRanges } from "./ProgramRanges.ts"

/** The command that redoes what a build lacks. */
const remake = "`llima-compile MODEL -o OUT --resume`, with the options of the build,"

/** The folder that was named does not exist, or holds no build. */
export class NoBuild extends Schema.TaggedError<NoBuild>()("NoBuild", { found: Schema.String }) {
  override get message() {
    return `${this.found}; expected the output folder of a finished build: give the OUT of \`llima-compile MODEL -o OUT\``
  }
}

/** The archives are another machine's; `target` undefined: it is only known that it is not host. */
export class OtherTarget extends Schema.TaggedError<OtherTarget>()("OtherTarget", {
  target: Schema.UndefinedOr(Schema.String)
}) {
  override get message() {
    const target = this.target === undefined ? "another target than host" : `the target ${this.target}`
    return `built for ${target}, whose programs do not run on this machine; `
      + "compile the model with --target host, into another folder, to run it here"
  }
}

/** A file of the build is missing or cannot be read. */
export class Unreadable extends Schema.TaggedError<Unreadable>()("Unreadable", {
  detail: Schema.String,
  advice: Schema.String
}) {
  override get message() {
    return `cannot be read: ${this.detail}; ${this.advice}`
  }
}

/** A file of the build is not what its reader expects. */
export class Damaged extends Schema.TaggedError<Damaged>()("Damaged", {
  /** place in the file */
  where: Schema.String,
  expected: Schema.String,
  found: Schema.String
}) {
  override get message() {
    return `${this.where}: expected ${this.expected}, found ${this.found}; ${remake} makes again what is damaged`
  }
}

/** Programs that a run needs and the build does not have. */
export class ProgramsMissing extends Schema.TaggedError<ProgramsMissing>()("ProgramsMissing", {
  programs: Schema.Array(Schema.String),
  /** those of them that the configuration file left out */
  omitted: Schema.Array(Schema.String)
}) {
  override get message() {
    return `the build has no ${programRanges(this.programs)}; ${
      this.omitted.length > 0
        ? "the configuration file left them out (\"compile\": False): compile again with all parts of every layer"
        : `${remake} makes them`
    }`
  }
}

/** The prompt does not fit into the context. */
export class PromptTooLong extends Schema.TaggedError<PromptTooLong>()("PromptTooLong", {
  tokens: Schema.Int,
  limit: Schema.Int
}) {
  override get message() {
    return `the prompt has ${this.tokens} tokens; prompt and answer together may have ${this.limit}, ` +
      "and one is needed for the answer: shorten it, or compile with a larger --max_num_tokens"
  }
}

/** The prompt is not one that the model can be given. */
export class PromptInvalid extends Schema.TaggedError<PromptInvalid>()("PromptInvalid", {
  expected: Schema.String,
  found: Schema.String
}) {
  override get message() {
    return `the prompt: expected ${this.expected}, found ${this.found}`
  }
}

/** The chat template cannot be applied. */
export class TemplateFailed extends Schema.TaggedError<TemplateFailed>()("TemplateFailed", { detail: Schema.String }) {
  override get message() {
    return `chat template: ${this.detail}; use --prompt without --chat, or correct the template`
  }
}

/** The tokenizer goes past its limits. */
export class TokenizerFailed extends Schema.TaggedError<TokenizerFailed>()("TokenizerFailed", {
  detail: Schema.String
}) {
  override get message() {
    return `turning text into tokens and back: ${this.detail}; shorten the prompt, or take another tokenizer (its patterns or rules may never end)`
  }
}

const engine = new Set(["NotInstalled", "GraphRefused", "RunFailed", "ThreadLost"])

/** Every way in which running a build fails. Exit code 5 when onnxruntime failed, else 3. */
export class RunError extends Schema.TaggedError<RunError>()("RunError", {
  path: Schema.String,
  reason: Schema.Union([
    NoBuild,
    OtherTarget,
    Unreadable,
    Damaged,
    ProgramsMissing,
    PromptTooLong,
    PromptInvalid,
    TemplateFailed,
    TokenizerFailed,
    NotInstalled,
    GraphRefused,
    RunFailed,
    ThreadLost
  ])
}) {
  override readonly [Runtime.errorExitCode] = engine.has(this.reason._tag) ? 5 : 3
  override get message() {
    return `${this.path}: ${this.reason.message}`
  }
  override get [CliError.userMessage]() {
    return this.message
  }
}
