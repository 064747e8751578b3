import { Console, Effect, FileSystem, Option, Path, Runtime, Schema } from "effect"
import { CliError } from "effect/cli"
import { RuntimeConfig, runtimeConfigPath } from "../devkit/RuntimeConfig.ts"
import { CompileRequest } from "../plan/Request.ts"
import { listArchive } from "../run/Listing.ts"
import { Compiler } from "../stage/Compiler.ts"
import { provenancePath, readProvenance } from "../stage/Provenance.ts"
import { compilerFor } from "../stage/Services.ts"
import { HostManifest, MANIFEST } from "../target/HostManifest.ts"
import type { Tensor } from "../tensor/Tensor.ts"
import { InputInvalid } from "./InputInvalid.ts"
import { provenanceLines } from "./InspectBuild.ts"
import type { InspectRequest } from "./Llima.ts"
import { formatSize } from "./Size.ts"
import { columns } from "./Table.ts"

/** A build's file is not what it should be. */
export class BuildDamaged extends Schema.TaggedError<BuildDamaged>()("BuildDamaged", {
  path: Schema.String,
  found: Schema.String
}) {
  override readonly [Runtime.errorExitCode] = 3
  override get message() {
    return `${this.path}: expected a file of a finished build, found ${this.found}; compile the model again with --resume`
  }
  override get [CliError.userMessage]() {
    return this.message
  }
}

/** Facts as JSON, and as lines for people. */
interface Facts {
  readonly json: unknown
  readonly lines: ReadonlyArray<string>
}

const shapeText = (shape: ReadonlyArray<number | string>): string => `[${shape.join(" × ")}]`

const archiveFacts = Effect.fnUntraced(function*(path: string) {
  const { files, manifest } = yield* listArchive(path, MANIFEST)
  const parsed = manifest === undefined
    ? undefined
    : yield* Effect.option(Schema.decodeEffect(Schema.fromJsonString(HostManifest))(manifest))
  const parts = parsed?._tag === "Some" ? parsed.value.parts : []
  const facts: Facts = {
    json: { kind: "archive", path, files, parts },
    lines: [
      ...columns([["file", "size"], ...files.map(({ bytes, name }) => [name, formatSize(bytes)])], [1]),
      ...parts.flatMap(({ inputs, name, outputs }) => [
        "",
        name,
        ...inputs.map((value) => `  in   ${value.name} ${value.dtype} ${shapeText(value.shape)}`),
        ...outputs.map((value) => `  out  ${value.name} ${value.dtype} ${shapeText(value.shape)}`)
      ])
    ]
  }
  return facts
})

const PrecisionFile = Schema.Struct({
  programs: Schema.Record(
    Schema.String,
    Schema.Struct({ precision: Schema.NullOr(Schema.String), compile: Schema.Boolean })
  )
})

const buildFacts = Effect.fnUntraced(function*(folder: string) {
  const fs = yield* FileSystem.FileSystem
  const path = yield* Path.Path
  const read = <A>(relative: string, schema: Schema.Codec<A, unknown>) => {
    const file = path.join(folder, relative)
    const damaged = (error: { readonly message: string }) => new BuildDamaged({ path: file, found: error.message })
    return Effect.flatMap(
      Effect.mapError(fs.readFileString(file), damaged),
      (text) => Effect.mapError(Schema.decodeEffect(Schema.fromJsonString(schema))(text), damaged)
    )
  }
  const config = yield* read(runtimeConfigPath, RuntimeConfig)
  const precision = yield* read("sima_files/devkit/precision.json", PrecisionFile)
  const archives = yield* Effect.forEach(config.layers, (_, layer) => {
    const name = `layer_${layer}.tar.gz`
    return fs.stat(path.join(folder, "sima_files", "mpk", name)).pipe(
      Effect.map(({ size }) => ({ name, bytes: Number(size) })),
      Effect.orElseSucceed(() => ({ name, bytes: undefined }))
    )
  })
  const counts = Map.groupBy(
    Object.values(precision.programs),
    (program) => program.compile ? program.precision ?? "" : "left out"
  )
  const made = yield* Effect.option(readProvenance(folder))
  const present = archives.filter(({ bytes }) => bytes !== undefined)
  const total = present.reduce((sum, { bytes = 0 }) => sum + bytes, 0)
  const facts: Facts = {
    json: {
      kind: "build",
      path: folder,
      config,
      precision: precision.programs,
      archives,
      provenance: Option.getOrNull(made)
    },
    lines: [
      ...columns([
        ["build", folder],
        [
          "model",
          `${config.family}, ${config.layers.length} layers, hidden ${config.hidden}, vocabulary ${config.vocabulary}`
        ],
        ["context", `${config.maxNumTokens} tokens, ${config.groupSize} per prefill pass`],
        ["last layer", config.returnLogits ? "gives logits" : "gives the token"],
        ["embeddings", config.embeddings.dtype],
        ["archives", `${present.length} of ${archives.length}, ${formatSize(total)}`]
      ]),
      "",
      ...columns([["programs", "precision"], ...[...counts].map(([name, all]) => [`${all.length}`, name])], [0]),
      "",
      ...Option.match(made, {
        onNone: () => [`no ${provenancePath}: this build is not finished, or an older version made it`],
        onSome: provenanceLines
      })
    ]
  }
  return facts
})

/** How the file holds the numbers: a storage format, or plain numbers. */
const storedAs = ({ coded, dtype }: Tensor): string => coded?.format ?? dtype

const storedBytes = ({ coded, range }: Tensor): number =>
  Object.values(coded?.pieces ?? {}).reduce(
    (sum, piece) => sum + piece.range.length,
    coded === undefined ? range.length : 0
  )

const checkpointFacts = (folder: string) =>
  Effect.gen(function*() {
    const { job: { checkpoint, model } } = yield* (yield* Compiler).plan(
      CompileRequest.make({ modelPath: folder, output: folder })
    )
    const { facts } = model
    const types = Map.groupBy(checkpoint.tensors.values(), storedAs)
    const rows = [...types].map(([stored, tensors]) => [
      stored,
      `${tensors.length}`,
      formatSize(tensors.reduce((sum, tensor) => sum + storedBytes(tensor), 0))
    ])
    const found: Facts = {
      json: {
        kind: "checkpoint",
        path: checkpoint.path,
        facts,
        tensors: [...checkpoint.tensors.values()].map((tensor) => {
          const { dtype, name, shape } = tensor
          return { name, dtype, shape, stored: storedAs(tensor) }
        }),
        warnings: checkpoint.warnings
      },
      lines: [
        ...columns([
          ["checkpoint", checkpoint.path],
          ["model", `${facts.family}, ${facts.layers.length} layers`],
          ["hidden", `${facts.hidden}, MLP ${facts.intermediate}, vocabulary ${facts.vocabulary}`],
          ["attention", `${facts.heads} heads of ${facts.headSize}, ${facts.keyValueHeads} of keys and values`],
          ["positions", `${facts.positions}`],
          ["head", facts.head === facts.embedding.tensor ? "tied to the embedding" : facts.head]
        ]),
        "",
        ...columns([["stored as", "tensors", "size"], ...rows], [1, 2]),
        ...checkpoint.warnings.map((warning) => `warning: ${warning}`)
      ]
    }
    return found
  }).pipe(Effect.provide(compilerFor(CompileRequest.make({ modelPath: folder, output: folder }))))

/** Fails where there is nothing that `inspect` knows, and says what it knows. */
const checkInspectable = Effect.fnUntraced(function*(target: string) {
  const fs = yield* FileSystem.FileSystem
  const invalid = (found: string) =>
    new InputInvalid({
      path: target,
      expected: "a model (a Hugging Face folder or a .gguf file), an archive (.tar.gz) or the output folder of a build",
      found
    })
  const { type } = yield* Effect.mapError(
    fs.stat(target),
    ({ message, reason }) => invalid(reason._tag === "NotFound" ? "no such file or folder" : message)
  )
  if (type !== "Directory") return
  const names = yield* Effect.mapError(fs.readDirectory(target), ({ message }) => invalid(message))
  const [archive] = names.filter((name) => name.endsWith(".tar.gz"))
  if (archive !== undefined) return yield* invalid(`a folder of archives; name one of them: ${archive}`)
  if (names.length === 0) return yield* invalid("an empty folder")
})

/** `llima inspect`: what a checkpoint, an archive or a build holds; recognised by what is there. */
export const inspect = Effect.fn("Inspect.inspect")(function*({ json, path: given }: InspectRequest) {
  const fs = yield* FileSystem.FileSystem
  const path = yield* Path.Path
  const target = path.resolve(given)
  const isBuild = yield* Effect.orElseSucceed(fs.exists(path.join(target, runtimeConfigPath)), () => false)
  if (!isBuild) yield* checkInspectable(target)
  const facts = target.endsWith(".tar.gz")
    ? yield* archiveFacts(target)
    : isBuild
    ? yield* buildFacts(target)
    : yield* checkpointFacts(target)
  yield* Console.log(json ? JSON.stringify(facts.json) : facts.lines.join("\n"))
})
