import { Effect, Path, Result } from "effect"
import { architectures, find } from "../arch/registry.ts"
import type { Job } from "../plan/Job.ts"
import { decoderPrograms, numberRanges } from "../plan/Parts.ts"
import { evaluate } from "../plan/Precision.ts"
import { type CompileRequest, stageFlags } from "../plan/Request.ts"
import { alike, type Checkpoint, expect, familyMissing, open, unsupportedArchitecture } from "../source/Checkpoint.ts"
import { configError } from "../source/SourceError.ts"
import { Target } from "../target/Target.ts"
import { onOtherDisk } from "./Disk.ts"
import { NotSupported, SharingNeeded } from "./StageError.ts"

/** What a request asks that no code here does yet, with what to do instead. */
const refusal = (request: CompileRequest): NotSupported | undefined =>
  request.loras.length > 0
    ? new NotSupported({
      what: "--lora_name",
      advice: "adapters are not compiled yet; compile the base model without it"
    })
    : request.imageHeight !== undefined || request.imageWidth !== undefined
    ? new NotSupported({
      what: "--input_height and --input_width",
      advice: "vision models are not compiled yet, and a text model takes no image size; leave both out"
    })
    : request.quality === "best"
    ? new NotSupported({ what: "--quality best", advice: "calibration is not built yet; use --quality fast" })
    : undefined

/** A stage that this kind of source does not go through, asked for by name. */
const strangeStage = ({ stages }: CompileRequest, kind: Checkpoint["kind"]): NotSupported | undefined => {
  if (stages.length === stageFlags.length) return undefined
  if (kind === "huggingface") {
    return stages.includes("model_sdk")
      ? new NotSupported({
        what: "--model_sdk",
        advice:
          "a Hugging Face folder goes through --onnx and --quantize; only GGUF and pre-quantised sources have a direct stage"
      })
      : undefined
  }
  const strange = stages.find((stage) => stage === "onnx" || stage === "quantize")
  return strange === undefined ? undefined : new NotSupported({
    what: `--${strange}`,
    advice: `${
      kind === "gguf" ? "a GGUF file" : "a pre-quantised folder"
    } is quantised already and goes through --devkit, --model_sdk and --compile`
  })
}

/** Everything that can be known of a build before it begins: the source, the family, its tensors, the precision of every program. */
export const prepare = Effect.fn("Prepare.prepare")(function*(request: CompileRequest) {
  const refused = refusal(request)
  if (refused !== undefined) return yield* refused
  const target = yield* Target
  const path = yield* Path.Path
  const checkpoint = yield* open(request.modelPath)
  const strange = strangeStage(request, checkpoint.kind)
  if (strange !== undefined) return yield* strange
  const configPath = checkpoint.kind === "gguf" ? checkpoint.path : path.join(checkpoint.path, "config.json")
  const modelType = checkpoint.config["model_type"]
  if (typeof modelType !== "string" || modelType === "") {
    return yield* familyMissing(configPath, modelType, architectures)
  }
  const family = find(modelType)
  if (family === undefined) return yield* unsupportedArchitecture(configPath, modelType, architectures, checkpoint)
  const model = yield* Effect.fromResult(
    Result.mapError(family.read(checkpoint.config), (problems) => configError(configPath, problems))
  )
  const { unused, weights } = yield* Effect.fromResult(
    expect(checkpoint, model.tensors, family.dtypes, () => alike(checkpoint, architectures, checkpoint.config))
  )
  const { table, warnings } = yield* evaluate(
    request,
    model.facts.layers.length,
    decoderPrograms(model.facts.layers)
  )
  const branched = [
    ...new Set(table.flatMap(({ choice, program }) => choice.lora === "LORA_DISABLED" ? [] : [program.index]))
  ]
  if (branched.length > 0 && !request.enableFilterSharing) {
    return yield* new SharingNeeded({ layers: numberRanges(branched) })
  }
  const leftover = unused.length > 0
    ? [
      `${unused.length} tensors of the checkpoint are not used by ${family.name}: ${unused.slice(0, 3).join(", ")}${
        unused.length > 3 ? ", …" : ""
      }`
    ]
    : []
  const job: Job = {
    request,
    checkpoint: { ...checkpoint, warnings: [...checkpoint.warnings, ...leftover, ...warnings] },
    model,
    weights,
    table,
    target: target.facts,
    otherDisk: yield* onOtherDisk(request.output, checkpoint.path)
  }
  return job
})
