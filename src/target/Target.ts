import { Context, type Effect, Schema } from "effect"
import { Runtime } from "effect"
import { CliError } from "effect/cli"
import type { Graph } from "../onnx/Graph.ts"
import type { Entry } from "../pack/Entry.ts"

/** A quantised part, as QUANTIZE, MODEL_SDK_DIRECT and SOURCE_TO_QUANT write it. */
export interface QuantizedPart {
  /** `group_pre_0` */
  readonly name: string
  readonly graph: Graph
  /** absolute folder that the graph's external locations start from */
  readonly folder: string
}

/** What a target makes of one part: a graph that refers to bytes where they lie, or a binary of its own. */
export type CompiledPart =
  | { readonly kind: "graph"; readonly name: string; readonly graph: Graph; readonly folder: string }
  | { readonly kind: "binary"; readonly name: string; readonly extension: string; readonly bytes: Uint8Array }

/** Why a target could not do its work. `retry` says whether the same call may go better: "same", or "never". */
export class TargetError extends Schema.TaggedError<TargetError>()("TargetError", {
  target: Schema.String,
  part: Schema.String,
  detail: Schema.String,
  retry: Schema.Literals(["same", "never"])
}) {
  override readonly [Runtime.errorExitCode] = 5
  override get message() {
    return `target ${this.target}, ${this.part}: ${this.detail}`
  }
  override get [CliError.userMessage]() {
    return this.message
  }
}

/** What a target is and can do. */
export interface TargetFacts {
  readonly name: string
  /** "symbolic": one program serves every number of tokens and positions; "fixed": one program per shape */
  readonly shapes: "symbolic" | "fixed"
  /** its programs are graphs that onnxruntime runs on this machine, so that a build can be verified */
  readonly runsHere?: boolean
}

/** Turns quantised parts into programs, and the programs of a layer into the files of its archive. */
export class Target extends Context.Service<Target, {
  readonly facts: TargetFacts
  readonly compile: (part: QuantizedPart) => Effect.Effect<CompiledPart, TargetError>
  readonly link: (layer: string, parts: ReadonlyArray<CompiledPart>) => Effect.Effect<ReadonlyArray<Entry>, TargetError>
}>()("llima/target/Target") {}
