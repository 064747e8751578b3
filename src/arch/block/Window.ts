import { Result, Schema } from "effect"
import { MOST_LAYERS, optional, Positions, type Read, wrong } from "./Config.ts"

/** Keys by which the qwen families say which layers see a window only; names by `windowKeys`. */
export const windowFields = {
  useWindow: optional(Schema.Boolean),
  window: optional(Positions),
  fullLayers: optional(Schema.Int),
  layerTypes: optional(
    Schema.Array(Schema.Literals(["full_attention", "sliding_attention"])).pipe(
      Schema.check(Schema.isMaxLength(MOST_LAYERS, { message: `at most ${MOST_LAYERS} layers` }))
    )
  )
} as const

/** Names of `windowFields` in config.json. */
export const windowKeys = {
  useWindow: "use_sliding_window",
  window: "sliding_window",
  fullLayers: "max_window_layers",
  layerTypes: "layer_types"
} as const

/** `windowFields` as decoded. */
interface Config {
  readonly useWindow?: boolean | null
  readonly window?: number | null
  readonly fullLayers?: number | null
  readonly layerTypes?: ReadonlyArray<"full_attention" | "sliding_attention"> | null
}

/**
 * The window of each layer; undefined: it sees all before it. Without `use_sliding_window` a window that is given does not
 * count; without `layer_types` layers from `max_window_layers` on slide. Source: transformers 5.23, models/qwen2 and qwen3.
 */
export const windowsOf = (config: Config, layers: number): Read<ReadonlyArray<number | undefined>> => {
  // A config that asks for a window without its size has the family's.
  const window = config.useWindow === true ? config.window === undefined ? 4096 : config.window ?? undefined : undefined
  const types = config.layerTypes ??
    Array.from(
      { length: layers },
      (_, index) => window !== undefined && index >= (config.fullLayers ?? 28) ? "sliding_attention" : "full_attention"
    )
  if (types.length !== layers) {
    return Result.fail(
      wrong("layer_types", `${layers} entries, one for each of num_hidden_layers`, `${types.length} entries`)
    )
  }
  if (window === undefined && types.includes("sliding_attention")) {
    return Result.fail(
      wrong("layer_types", "full_attention everywhere, as no sliding window is in use", "sliding_attention")
    )
  }
  return Result.succeed(types.map((type) => type === "sliding_attention" ? window : undefined))
}
