import { Schema } from "effect"

/** Problems that a message spells out; the rest is counted. */
const shown = 4

const few = (items: ReadonlyArray<string>): string =>
  items.slice(0, shown).join(", ") + (items.length > shown ? ` and ${items.length - shown} more` : "")

const shapeOf = (shape: ReadonlyArray<number>): string => `[${shape.join(", ")}]`

const counted = (count: number, one: string, many: string): string => count === 1 ? `1 ${one}` : `${count} ${many}`

const listed = (problems: ReadonlyArray<string>): string =>
  problems.length === 1 ? ` ${problems[0]}` : problems.map((problem) => `\n  - ${problem}`).join("")

/** What stands between the problems and the advice. */
const closing = (problems: ReadonlyArray<string>): string => problems.length === 1 ? "; " : "\n"

/** config.json (or another configuration) says something impossible; one line a problem, each beginning with the key. */
export class ConfigInvalid extends Schema.TaggedError<ConfigInvalid>()("ConfigInvalid", {
  problems: Schema.Array(Schema.String)
}) {
  override get message() {
    return `not a usable model configuration:${listed(this.problems)}${
      closing(this.problems)
    }${"download config.json again from the model's page, or correct it if you wrote it"}`
  }
}

/** config.json is sound, but asks for something that is not built. */
export class ConfigUnsupported extends Schema.TaggedError<ConfigUnsupported>()("ConfigUnsupported", {
  problems: Schema.Array(Schema.String)
}) {
  override get message() {
    return `not supported by this version:${listed(this.problems)}${
      closing(this.problems)
    }${"without it the model would answer otherwise, so do not take it out; choose a checkpoint that has no such setting"}`
  }
}

const Shape = Schema.Array(Schema.Finite)

/** The tensors of the files and those that the configuration asks for differ. */
export class TensorsDiffer extends Schema.TaggedError<TensorsDiffer>()("TensorsDiffer", {
  missing: Schema.Array(Schema.Struct({ tensor: Schema.String, shape: Shape })),
  misshapen: Schema.Array(Schema.Struct({ tensor: Schema.String, expected: Shape, found: Shape })),
  /** what may explain it: counts of layers, another prefix */
  hints: Schema.Array(Schema.String)
}) {
  override get message() {
    const lines = [
      ...(this.missing.length === 0 ? [] : [
        `${counted(this.missing.length, "tensor is missing", "tensors are missing")}: ${
          few(this.missing.map(({ shape, tensor }) => `${tensor} ${shapeOf(shape)}`))
        }`
      ]),
      ...(this.misshapen.length === 0 ? [] : [
        `${counted(this.misshapen.length, "tensor has another shape", "tensors have another shape")}: ${
          few(this.misshapen.map(({ expected, found, tensor }) =>
            `${tensor}: expected ${shapeOf(expected)}, found ${shapeOf(found)}`
          ))
        }`
      ]),
      ...this.hints
    ]
    return `the weights do not fit config.json: ${lines.join("; ")}; check that both come from the same model`
  }
}

/** Tensors of the decoder that the family of config.json does not know: the model computes something else. */
export class TensorsUnused extends Schema.TaggedError<TensorsUnused>()("TensorsUnused", {
  tensors: Schema.Array(Schema.String),
  /** what may explain it: a family that has them all */
  hints: Schema.Array(Schema.String)
}) {
  override get message() {
    return [
      `${
        counted(this.tensors.length, "tensor of the decoder has", "tensors of the decoder have")
      } no place in the family that config.json names: ${few(this.tensors)}`,
      ...this.hints,
      "without them the tokens would be wrong: check model_type and the settings of biases and norms in config.json, or use a "
      + "checkpoint of a supported family"
    ].join("; ")
  }
}

/** Tensors in number formats that cannot be taken. */
export class DTypeUnsupported extends Schema.TaggedError<DTypeUnsupported>()("DTypeUnsupported", {
  tensors: Schema.Array(Schema.Struct({ tensor: Schema.String, dtype: Schema.String })),
  supported: Schema.Array(Schema.String)
}) {
  override get message() {
    return `number format not supported: ${few(this.tensors.map(({ dtype, tensor }) => `${tensor} is ${dtype}`))}; `
      + `expected one of ${this.supported.join(", ")}; save the model in one of these`
  }
}

/** A tensor holds a number that no sound model has. `index` outermost first; `found` such as NaN or -Infinity. */
export class ValueInvalid extends Schema.TaggedError<ValueInvalid>()("ValueInvalid", {
  tensor: Schema.String,
  index: Schema.Array(Schema.Int),
  expected: Schema.String,
  found: Schema.String
}) {
  override get message() {
    return `${this.tensor} holds a bad value at ${
      shapeOf(this.index)
    }: expected ${this.expected}, found ${this.found}; `
      + "the file is damaged or the model was saved broken: download it again"
  }
}

/** A model family that is not built; `findings`: what it is nearest to, what differs, what to do, one clause each. */
export class UnsupportedArchitecture extends Schema.TaggedError<UnsupportedArchitecture>()("UnsupportedArchitecture", {
  /** what names the architecture: `model_type` */
  key: Schema.String,
  name: Schema.String,
  architectures: Schema.Array(Schema.String),
  families: Schema.Array(Schema.String),
  findings: Schema.Array(Schema.String)
}) {
  override get message() {
    const classes = this.architectures.length === 0 ? "" : ` (${this.architectures.join(", ")})`
    return [
      `${this.key} ${JSON.stringify(this.name)}${classes} is not supported`,
      ...this.findings,
      `supported families: ${this.families.join(", ")}`
    ].join("; ")
  }
}

/** Weights that are quantised in a way that cannot be taken. `where`: the key; `setting`: words for it; `advice`: what else to say. */
export class UnsupportedQuantization extends Schema.TaggedError<UnsupportedQuantization>()("UnsupportedQuantization", {
  where: Schema.String,
  setting: Schema.String,
  found: Schema.String,
  supported: Schema.Array(Schema.String),
  advice: Schema.String
}) {
  override get message() {
    const [setting = ""] = this.setting.split(" ").slice(-1)
    const advice = this.advice === "" ? "" : `${this.advice}; `
    return `${this.where}: ${this.setting} ${this.found} is not supported; supported ${setting}${
      setting.endsWith("s") ? "" : "s"
    }: ${
      this.supported.join(", ")
    }; ${advice}use the unquantised checkpoint of the model (bf16 or f16), and choose the `
      + "precision with --configuration_file"
  }
}

/** Names that a message lists where many modules have something wrong. */
const modulesShown = 8

/** A stored tensor of a quantised module, or the module, is not as the configuration says; `also`: what else is not. */
export class PieceInvalid extends Schema.TaggedError<PieceInvalid>()("PieceInvalid", {
  tensor: Schema.String,
  expected: Schema.String,
  found: Schema.String,
  also: Schema.Array(Schema.String)
}) {
  override get message() {
    const more = this.also.length > modulesShown ? ` and ${this.also.length - modulesShown} more` : ""
    const also = this.also.length === 0 ? "" : ` (also wrong: ${this.also.slice(0, modulesShown).join(", ")}${more})`
    return `${this.tensor}: ${this.expected} expected, found ${this.found}${also}; check that the weights and quantization_config `
      + "come from the same model, and download both again"
  }
}

/** A file format that is not built. */
export class UnsupportedFormat extends Schema.TaggedError<UnsupportedFormat>()("UnsupportedFormat", {
  format: Schema.String,
  advice: Schema.String
}) {
  override get message() {
    return `${this.format} input is not built yet; ${this.advice}`
  }
}
