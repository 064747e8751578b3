import type { Provenance } from "../../src/stage/Provenance.ts"

/** Layers of `provenance`. */
export const LAYERS = 3

type Verified = NonNullable<Provenance["verification"]>

/** One comparison of a program's output. */
export const check = (
  program: string,
  tensor: string,
  error: number,
  threshold: number
): Verified["checks"][number] => ({
  program,
  tensor,
  precision: "A_BF16_W_INT4",
  error,
  largest: error,
  threshold,
  passed: error <= threshold
})

/** Every output within its limit. */
export const verification: Verified = {
  mode: "quick",
  tokens: 16,
  checks: Array.from({ length: LAYERS }, (_, layer) => [
    check(`group_pre_${layer}`, "q", 0.05, 0.35),
    check(`single_pre_${layer}`, "q", 0.07, 0.35),
    check(`group_cache_${layer}`, "attended", 0, 1e-4),
    check(`group_post_${layer}`, layer === LAYERS - 1 ? "logits" : "hidden_out", 0.1, 0.35)
  ]).flat(),
  skipped: [],
  passed: true
}

/** A build of three layers: one precision each. */
export const provenance: Provenance = {
  format: 1,
  tool: { name: "llima-compile", version: "9.9.9" },
  source: {
    kind: "huggingface",
    name: "Tiny",
    family: "llama",
    layers: LAYERS,
    files: [
      { name: "config.json", bytes: 700, sha256: "c0".repeat(32), sample: null },
      { name: "model.safetensors", bytes: 2 ** 30, sha256: null, sample: "5a".repeat(32) }
    ]
  },
  request: {
    target: "host",
    configuration: { sha256: "cf".repeat(32) },
    python: null,
    maxNumTokens: 1024,
    languageGroupSize: 128,
    futureTokenMaskSize: 128,
    imageHeight: null,
    imageWidth: null,
    enableFilterSharing: false,
    quantizeEmbeddings: true,
    returnLogits: false,
    loras: [],
    loraRank: null,
    quality: "fast",
    verify: "quick",
    keepQuantized: "all",
    pack: "fast"
  },
  precision: [{ program: "group_pre_0", precision: "BF16", compile: true, lora: "LORA_DISABLED" }],
  parts: [
    {
      program: "group_pre_0",
      layer: 0,
      part: "PRE",
      phase: "group",
      precision: "A_BF16_W_INT8",
      before: 100,
      after: 53
    },
    { program: "single_pre_0", layer: 0, part: "PRE", phase: "single", precision: null, before: 0, after: 0 }
  ],
  layers: (["BF16", "A_BF16_W_INT8", "A_BF16_W_INT4"] as const).map((precision, layer) => ({
    layer,
    precision,
    weights: 2 ** 20,
    before: 2 ** 21,
    after: 2 ** 21 >> layer
  })),
  weights: (["BF16", "A_BF16_W_INT8", "A_BF16_W_INT4"] as const).map((precision, layer) => ({
    precision,
    weights: 2 ** 20,
    before: 2 ** 21,
    after: 2 ** 21 >> layer
  })),
  warnings: [],
  artifacts: [{ path: "sima_files/mpk/layer_0.tar.gz", bytes: 1234, sha256: "ab".repeat(32) }],
  run: {
    started: "2026-01-02T03:04:05.000Z",
    seconds: 3.21,
    peakMemory: 200 * 2 ** 20,
    written: 1e6,
    steps: [
      { id: "devkit", stage: "DEVKIT", layer: null, kept: false, seconds: 0.4 },
      ...Array.from({ length: LAYERS }, (_, layer) => ({
        id: `quantize/layer_${layer}`,
        stage: "QUANTIZE" as const,
        layer,
        kept: layer === 0,
        seconds: layer === 0 ? null : 0.1
      }))
    ],
    model: "models/Tiny",
    configurationFile: "config.py",
    loraPaths: [],
    output: "out",
    folder: "/work",
    jobs: 2,
    maxMemory: 2 ** 31,
    resume: false,
    force: false,
    host: { system: "linux x64", cores: 2, node: "24.0.0", onnxruntime: "1.30.0" }
  }
}

/** The same, compared with the float model. */
export const verified: Provenance = { ...provenance, verification }
