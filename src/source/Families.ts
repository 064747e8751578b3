import { UnsupportedArchitecture } from "./ModelReason.ts"
import { SourceError } from "./SourceError.ts"

/** Keys of config.json that tell what a model has beside plain attention and MLPs. */
const hintKeys: ReadonlyArray<readonly [key: string, meaning: string]> = [
  ["num_experts", "a mixture of experts"],
  ["num_local_experts", "a mixture of experts"],
  ["n_routed_experts", "a mixture of experts"],
  ["kv_lora_rank", "latent attention"],
  ["state_size", "a state-space layer"],
  ["ssm_state_size", "a state-space layer"],
  ["mamba_d_state", "a state-space layer"],
  ["conv_L_cache", "a short convolution"],
  ["linear_num_key_heads", "linear attention"],
  ["vision_config", "an image encoder"],
  ["audio_config", "an audio encoder"],
  ["is_encoder_decoder", "an encoder and a decoder"]
]

const distance = (a: string, b: string): number => {
  let row = Array.from({ length: b.length + 1 }, (_, index) => index)
  for (const [i, char] of Array.from(a).entries()) {
    const next = [i + 1]
    for (let j = 0; j < b.length; j++) {
      const swap = (row[j] ?? 0) + (char === b[j] ? 0 : 1)
      next.push(Math.min(swap, (row[j + 1] ?? 0) + 1, (next[j] ?? 0) + 1))
    }
    row = next
  }
  return row[b.length] ?? 0
}

/** The error for a `model_type` that no family reads. `path` is config.json, `config` its content (for hints). */
export const unsupportedArchitecture = (
  path: string,
  modelType: unknown,
  families: ReadonlyArray<string>,
  config: unknown = {}
): SourceError => {
  const type = typeof modelType === "string" ? modelType.slice(0, 100) : JSON.stringify(modelType) ?? "(missing)"
  const settings = typeof config === "object" && config !== null
    ? new Map(Object.entries(config))
    : new Map<string, unknown>()
  const classes = settings.get("architectures")
  const architectures = Array.isArray(classes) ? classes.filter((name) => typeof name === "string") : []
  const [nearest] = families.map((family) => ({ family, steps: distance(type, family) })).sort((a, b) =>
    a.steps - b.steps
  )
  const hints = hintKeys.filter(([key]) => ![undefined, null, false, 0].some((none) => none === settings.get(key)))
  const reason = new UnsupportedArchitecture({
    modelType: type,
    architectures,
    families,
    // further than half the name, "nearest" tells nothing
    nearest: nearest !== undefined && nearest.steps <= type.length / 2 ? nearest.family : undefined,
    hints: hints.map(([key, meaning]) => `${key} (${meaning})`)
  })
  return new SourceError({ path, reason })
}
