import { Result, Schema } from "effect"
import { MOST_LAYERS, optional, Positions, type Read, wrong } from "./Config.ts"

/** `layer_types`. */
export const LayerTypes = optional(
  Schema.Array(Schema.Literals(["full_attention", "sliding_attention"])).pipe(
    Schema.check(Schema.isMaxLength(MOST_LAYERS, { message: `at most ${MOST_LAYERS} layers` }))
  )
)

/** Keys by which the qwen families say which layers see a window only; names by `windowKeys`. */
export const windowFields = {
  useWindow: optional(Schema.Boolean),
  window: optional(Positions),
  fullLayers: optional(Schema.Int),
  layerTypes: LayerTypes
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

/** The window of each layer by its type: `types` of the config, else `slides`; undefined: the layer sees all before it. */
export const windowsByType = (
  types: Config["layerTypes"],
  layers: number,
  window: number | undefined,
  slides: (index: number) => boolean
): Read<ReadonlyArray<number | undefined>> => {
  const sliding = types?.map((type) => type === "sliding_attention") ??
    Array.from({ length: layers }, (_, index) => slides(index))
  if (sliding.length !== layers) {
    return Result.fail(
      wrong("layer_types", `${layers} entries, one for each of num_hidden_layers`, `${sliding.length} entries`)
    )
  }
  if (window === undefined && sliding.includes(true)) {
    return Result.fail(
      wrong("layer_types", "full_attention everywhere, as no sliding window is in use", "sliding_attention")
    )
  }
  return Result.succeed(sliding.map((slides) => slides ? window : undefined))
}

/**
 * The window of each layer; undefined: it sees all before it. Without `use_sliding_window` a window that is given does not
 * count; without `layer_types` layers from `max_window_layers` on slide. Source: transformers 5.23, models/qwen2 and qwen3.
 */
export const windowsOf = (config: Config, layers: number): Read<ReadonlyArray<number | undefined>> => {
  // A config that asks for a window without its size has the family's.
  const window = config.useWindow === true ? config.window === undefined ? 4096 : config.window ?? undefined : undefined
  return windowsByType(
    config.layerTypes,
    layers,
    window,
    (index) => window !== undefined && index >= (config.fullLayers ?? 28)
  )
}
