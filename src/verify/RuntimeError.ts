import { Runtime, Schema } from "effect"
import { CliError } from "effect/cli"

/** onnxruntime-node is not there, or not for this machine. */
export class NotInstalled extends Schema.TaggedError<NotInstalled>()("NotInstalled", { detail: Schema.String }) {
  override get message() {
    return `onnxruntime-node cannot be loaded (${this.detail}); install it: ` +
      "ONNXRUNTIME_NODE_INSTALL=skip npm install onnxruntime-node@1.30.0 (without the variable its installer asks for CUDA libraries)"
  }
}

/** onnxruntime does not take the graph. */
export class GraphRefused extends Schema.TaggedError<GraphRefused>()("GraphRefused", { detail: Schema.String }) {
  override get message() {
    return `onnxruntime refuses the graph: ${this.detail}`
  }
}

/** The graph stopped while it ran. */
export class RunFailed extends Schema.TaggedError<RunFailed>()("RunFailed", { detail: Schema.String }) {
  override get message() {
    return `onnxruntime failed while it ran the graph: ${this.detail}`
  }
}

/** The thread of onnxruntime ended: a crash, or memory that ran out. */
export class ThreadLost extends Schema.TaggedError<ThreadLost>()("ThreadLost", { detail: Schema.String }) {
  override get message() {
    return `the thread of onnxruntime ended (${this.detail}); the machine may be short of memory`
  }
}

/** Every way in which running a graph on this machine fails. */
export class RuntimeError extends Schema.TaggedError<RuntimeError>()("RuntimeError", {
  /** the graph or the build */
  subject: Schema.String,
  reason: Schema.Union([NotInstalled, GraphRefused, RunFailed, ThreadLost])
}) {
  override readonly [Runtime.errorExitCode] = 5
  override get message() {
    return `${this.subject}: ${this.reason.message}`
  }
  override get [CliError.userMessage]() {
    return this.message
  }
}
