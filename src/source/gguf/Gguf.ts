import { Effect, Path, Result } from "effect"
import { decodeFloats } from "../../tensor/Float.ts"
import type { Checkpoint } from "../Checkpoint.ts"
import { HeaderInvalid } from "../FileReason.ts"
import { SourceError } from "../SourceError.ts"
import { readBytes } from "../SourceFile.ts"
import { describe } from "./Config.ts"
import { Metadata, type Read, wrong } from "./Metadata.ts"
import { isTable } from "./Names.ts"
import { modelName, type Part, type Parts, readParts } from "./Parts.ts"
import type { Tables } from "./Rope.ts"
import { tokenizerFiles } from "./TokenizerFiles.ts"
import { readTokens } from "./Tokens.ts"
import { type Placed, weights } from "./Weights.ts"

/** A table of rotary factors has one for each pair of a head. */
const MOST_TABLE = 2 ** 16

const failed = (path: string) => (reason: SourceError["reason"]) => new SourceError({ path, reason })

const invalid = (path: string, tensor: string, expected: string, found: string) =>
  failed(path)(new HeaderInvalid({ tensor, expected, found }))

/** The tensors of all parts, each once. */
export const placeAll = (parts: ReadonlyArray<Part>): Result.Result<ReadonlyMap<string, Placed>, SourceError> => {
  const placed = new Map<string, Placed>()
  for (const { file, header } of parts) {
    for (const [name, info] of header.tensors) {
      const other = placed.get(name)
      if (other !== undefined) {
        return Result.fail(invalid(file.path, name, "each tensor in one part", `it in ${other.file} too`))
      }
      placed.set(name, { ...info, file: file.path })
    }
  }
  return Result.succeed(placed)
}

/** The numbers of the tensors that are rotary tables, each finite and above 0. */
const readTables = Effect.fnUntraced(function*(placed: ReadonlyMap<string, Placed>) {
  const tables = new Map<string, ReadonlyArray<number>>()
  for (const [name, { bytes, file, offset, shape, type }] of placed) {
    if (!isTable(name) || !name.startsWith("rope_")) continue
    if (type.name !== "F32" || shape.length !== 1 || bytes > 4 * MOST_TABLE) {
      return yield* invalid(
        file,
        name,
        `F32, one dimension of at most ${MOST_TABLE}`,
        `${type.name} [${shape.join(", ")}]`
      )
    }
    const values = Array.from(decodeFloats("f32", yield* readBytes(file, offset, bytes)))
    const bad = values.findIndex((value) => !(Number.isFinite(value) && value > 0))
    if (bad >= 0) return yield* invalid(file, name, "factors above 0", `${values[bad]} at [${bad}]`)
    tables.set(name, values)
  }
  return tables
})

/** Fails where the embedding has not a row for each token; what else the tokenizer says would not fit either. */
const checkVocabulary = (meta: Metadata, placed: ReadonlyMap<string, Placed>): Read<void> => {
  const list = meta.header.values.get("tokenizer.ggml.tokens")
  const name = "token_embd.weight"
  const rows = placed.get(name)?.shape[0]
  return list?.kind !== "list" || rows === undefined || rows === list.count
    ? Result.void
    : wrong(name, `a row for each of the tokenizer's ${list.count} tokens`, `${rows} rows`)
}

/** The checkpoint that the headers of a model's parts describe, the first in front; all checks are made here. */
export const assemble = (
  name: string,
  parts: Parts,
  placed: ReadonlyMap<string, Placed>,
  tables: Tables
): Result.Result<Checkpoint, SourceError> => {
  const [first] = parts
  const meta = new Metadata(first.header)
  const read = Result.gen(function*() {
    // what the model is comes before what its tokens are: an unknown architecture has a tokenizer of its own
    yield* describe(meta, tables, 1)
    yield* checkVocabulary(meta, placed)
    const tokens = yield* readTokens(meta)
    const described = yield* describe(meta, tables, tokens.tokens.length)
    const tensors = yield* weights(described, placed)
    const { bos } = tokens.tasks
    const ids: Readonly<Record<string, unknown>> = {
      ...(bos === undefined ? {} : { bos_token_id: bos }),
      ...(tokens.ends.length === 0 ? {} : { eos_token_id: tokens.ends })
    }
    const dropsSpace = described.layout.modelType === "phi3"
    const checkpoint: Checkpoint = {
      path: first.file.path,
      name,
      kind: "gguf",
      config: { ...described.config, ...ids },
      generationConfig: ids,
      tensors,
      unheld: new Map(),
      files: parts.map(({ file }) => file),
      companions: [],
      made: () => tokenizerFiles(tokens, { dropsSpace, positions: described.positions }),
      warnings: tokens.warnings
    }
    return checkpoint
  })
  return Result.mapError(read, failed(first.file.path))
}

/** Opens the model in the GGUF file at `path` (absolute), or in the split that the file is one of. */
export const readGguf = Effect.fn("gguf.read")(function*(path: string) {
  const paths = yield* Path.Path
  const parts = yield* readParts(path)
  const placed = yield* Effect.fromResult(placeAll(parts))
  const tables = yield* readTables(placed)
  return yield* Effect.fromResult(assemble(modelName(paths.basename(parts[0].file.path)), parts, placed, tables))
})
