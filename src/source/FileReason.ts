import { Schema } from "effect"

const bytesOf = (count: number): string => count === 1 ? "1 byte" : `${count} bytes`

/** There is no such file or folder. */
export class NotFound extends Schema.TaggedError<NotFound>()("NotFound", {}) {
  override get message() {
    return "there is no such file or folder; give the path of a Hugging Face folder or of a .gguf file"
  }
}

/** The system does not let us read it. `detail`: why, in words. */
export class Unreadable extends Schema.TaggedError<Unreadable>()("Unreadable", { detail: Schema.String }) {
  override get message() {
    return `cannot be read: ${this.detail}; check that it is a file and that you may read it`
  }
}

/** The path holds something else than a checkpoint. */
export class NotRecognised extends Schema.TaggedError<NotRecognised>()("NotRecognised", {
  found: Schema.String,
  advice: Schema.String
}) {
  override get message() {
    return `not a model: found ${this.found}; expected a Hugging Face folder (config.json, tokenizer.json, safetensors files), `
      + `a .gguf file or a pre-quantised folder; ${this.advice}`
  }
}

/** A file that a checkpoint has to have is not in the folder; `purpose` says what it is needed for. */
export class FileMissing extends Schema.TaggedError<FileMissing>()("FileMissing", {
  file: Schema.String,
  purpose: Schema.String,
  advice: Schema.String
}) {
  override get message() {
    return `${this.file} is missing (no such file): ${this.purpose}; ${this.advice}`
  }
}

/** The folder has no weights in a format that we read. */
export class WeightsMissing extends Schema.TaggedError<WeightsMissing>()("WeightsMissing", {
  found: Schema.String,
  advice: Schema.String
}) {
  override get message() {
    return `no weights: expected model.safetensors or model.safetensors.index.json, found ${this.found}; ${this.advice}`
  }
}

/** The weights are there only as Python pickles, which may run code when they are loaded. */
export class PickleOnly extends Schema.TaggedError<PickleOnly>()("PickleOnly", { found: Schema.Array(Schema.String) }) {
  override get message() {
    return `the weights are there only as pickle files (${
      this.found.join(", ")
    }), which are never loaded because they may run code; `
      + "download the safetensors files of this model (model.safetensors), or save it again with safetensors"
  }
}

/** A large-file pointer stands where the file itself should be. `bytes`: size of the real file, where the pointer says it. */
export class PointerFile extends Schema.TaggedError<PointerFile>()("PointerFile", {
  bytes: Schema.UndefinedOr(Schema.String)
}) {
  override get message() {
    const size = this.bytes === undefined ? "" : ` of ${this.bytes} bytes`
    return `is a git-lfs pointer to a file${size}, not the file itself; run \`git lfs pull\` in the folder or download the file again`
  }
}

/** A file is larger than such a file can sensibly be. */
export class TooLarge extends Schema.TaggedError<TooLarge>()("TooLarge", { limit: Schema.Int, found: Schema.Int }) {
  override get message() {
    return `has ${bytesOf(this.found)}, more than the ${this.limit} that we read of such a file; is it the right file?`
  }
}

/** JSON that cannot be relied on. `what` is "the file" or "the header"; `line` and `column` count from 1. */
export class JsonInvalid extends Schema.TaggedError<JsonInvalid>()("JsonInvalid", {
  what: Schema.String,
  line: Schema.Int,
  column: Schema.Int,
  problem: Schema.String
}) {
  override get message() {
    return `${this.what} is not sound JSON at line ${this.line}, column ${this.column}: ${this.problem}; `
      + "download the file again, or correct it if you wrote it"
  }
}

/** The header of a weights file is wrong; `tensor` where it is about one. */
export class HeaderInvalid extends Schema.TaggedError<HeaderInvalid>()("HeaderInvalid", {
  tensor: Schema.UndefinedOr(Schema.String),
  expected: Schema.String,
  found: Schema.String
}) {
  override get message() {
    const where = this.tensor === undefined ? "the header is invalid" : `the header is invalid at ${this.tensor}`
    return `${where}: expected ${this.expected}, found ${this.found}; download the file again`
  }
}

/** The file ends before the tensors do. `tensor` is the first that is not whole. */
export class Truncated extends Schema.TaggedError<Truncated>()("Truncated", {
  tensor: Schema.String,
  /** bytes of the tensor */
  expected: Schema.Int,
  /** bytes of the tensor that are there */
  found: Schema.Int,
  /** bytes that the whole file should have */
  fileExpected: Schema.Int,
  fileFound: Schema.Int
}) {
  override get message() {
    return `the file is truncated: expected ${
      bytesOf(this.fileExpected)
    }, found the end of file after ${this.fileFound} (${this.fileExpected - this.fileFound} too few); `
      + `${this.tensor} has ${this.found} of ${bytesOf(this.expected)}; download the file again`
  }
}

/** Two tensors claim the same bytes. Offsets count from the start of the data. */
export class Overlap extends Schema.TaggedError<Overlap>()("Overlap", {
  tensor: Schema.String,
  other: Schema.String,
  expected: Schema.Int,
  found: Schema.Int
}) {
  override get message() {
    return `${this.tensor} and ${this.other} overlap: expected ${this.tensor} to begin at data byte ${this.expected}, `
      + `where ${this.other} ends, found ${this.found}; download the file again`
  }
}

/** The index of a sharded checkpoint is wrong. */
export class IndexInvalid extends Schema.TaggedError<IndexInvalid>()("IndexInvalid", {
  expected: Schema.String,
  found: Schema.String
}) {
  override get message() {
    return `the index is invalid: expected ${this.expected}, found ${this.found}; download the index and its shards again`
  }
}

/** Shards that the index names are not in the folder; `tensors`: how many they should hold. */
export class ShardMissing extends Schema.TaggedError<ShardMissing>()("ShardMissing", {
  shards: Schema.Array(Schema.String),
  tensors: Schema.Int
}) {
  override get message() {
    const what = this.shards.length === 1 ? "the shard is missing" : `${this.shards.length} shards are missing`
    return `${what} (no such file): ${this.shards.slice(0, 4).join(", ")}${this.shards.length > 4 ? ", …" : ""}; `
      + `the index places ${this.tensors} tensors there; download them into this folder`
  }
}

/** The index names a file outside the folder. */
export class PathEscapes extends Schema.TaggedError<PathEscapes>()("PathEscapes", {
  tensor: Schema.String,
  found: Schema.String
}) {
  override get message() {
    return `the index places ${this.tensor} in ${
      JSON.stringify(this.found)
    }: expected the plain name of a file in this folder, `
      + "found a path; this is no index that we trust: download it again from the model's page"
  }
}
