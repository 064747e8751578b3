import { Schema } from "effect"

/** File of an archive that says what else is in it. */
export const MANIFEST = "manifest.json"
/** File of an archive that holds the weights of all its programs. */
export const WEIGHTS = "weights.bin"

const Value = Schema.Struct({
  name: Schema.String,
  dtype: Schema.String,
  /** numbers, or names of what is known only when the program runs */
  shape: Schema.Array(Schema.Union([Schema.Int, Schema.String]))
})

/** `manifest.json` of a layer's archive for the host. */
export const HostManifest = Schema.Struct({
  /** raised when a reader of an older archive could go wrong */
  format: Schema.Literal(1),
  /** `layer_0` */
  layer: Schema.String,
  target: Schema.Literal("host"),
  parts: Schema.Array(Schema.Struct({
    /** `group_pre_0` */
    name: Schema.String,
    file: Schema.String,
    inputs: Schema.Array(Value),
    outputs: Schema.Array(Value)
  })),
  weights: Schema.NullOr(Schema.Struct({ file: Schema.String, bytes: Schema.Int }))
})
export type HostManifest = typeof HostManifest.Type
