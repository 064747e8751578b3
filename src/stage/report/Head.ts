import { worstOf } from "../../verify/Verification.ts"
import type { Provenance } from "../Provenance.ts"
import { html, type Markup, raw } from "./Html.ts"
import { bitsPerWeight, formatCount, formatError, formatSeconds, formatSize, plural, sum } from "./Units.ts"

const kinds = { huggingface: "Hugging Face folder", gguf: "GGUF file", quantized: "quantised folder" } as const

const fact = (name: string, value: string, more: string): Markup =>
  html`<div><dt>${name}</dt><dd>${value}${more === "" ? raw("") : html`<small>${more}</small>`}</dd></div>`

const verdict = ({ verification }: Provenance): Markup => {
  if (verification === undefined) return fact("Verified", "no", "nothing was compared with the float model")
  const worst = worstOf(verification)
  const failed = verification.checks.filter(({ passed }) => !passed).length
  const value = verification.passed
    ? "✓ within all limits"
    : `✗ ${failed > 0 ? `${plural(failed, "output")} beyond the limit` : "predictions differ too much"}`
  const closest = worst === undefined
    ? ""
    : worst.error === 0
    ? ", no error at all"
    : `, closest: ${worst.program} ${worst.tensor}, ${formatError(worst.error)} of ${formatError(worst.threshold)}`
  return fact("Verified", value, `${plural(verification.checks.length, "output")}${closest}`)
}

const divergence = ({ verification }: Provenance): ReadonlyArray<Markup> =>
  verification?.divergence === undefined ? [] : [fact(
    "Predictions",
    `KL ${formatError(verification.divergence.kl)}`,
    `limit ${
      formatError(verification.divergence.threshold)
    }; same token at ${verification.divergence.agreeing} of ${verification.divergence.positions}`
  )]

const intakeFact = ({ intake }: Provenance): ReadonlyArray<Markup> => {
  if (intake === undefined) return []
  const worst = Math.max(0, ...intake.tensors.map(({ error }) => error ?? 0))
  return [fact(
    "Quantised before",
    `${intake.exact} exact`,
    `${intake.converted} converted, ${intake.requantised} requantised${
      worst > 0 ? `; error ${formatError(worst)} at most` : ""
    }`
  )]
}

/** The model, and the build in a few figures. */
export const head = (provenance: Provenance): Markup => {
  const { artifacts, request, run, source, tool, weights } = provenance
  const numbers = sum(weights.map((size) => size.weights))
  // the one that most weights have is the headline
  const mix = weights.toSorted((a, b) => b.weights - a.weights)
    .map((size) => `${size.precision} ${(100 * size.weights / Math.max(1, numbers)).toFixed(0)} %`)
  return html`<header>
<h1><bdi>${source.name}</bdi></h1>
<p class="soft"><bdi>${source.family}</bdi>, ${plural(source.layers, "layer")}, ${
    kinds[source.kind]
  }, for ${request.target}; ${tool.name} <bdi>${tool.version}</bdi></p>
<dl class="facts">
${[
    fact(
      "Weights",
      `${formatSize(sum(weights.map(({ before }) => before)))} → ${formatSize(sum(weights.map(({ after }) => after)))}`,
      `${formatCount(numbers)} numbers, ${bitsPerWeight(weights).toFixed(2)} bits each`
    ),
    fact("Precision", mix[0] ?? "none", mix.slice(1).join(", ")),
    verdict(provenance),
    ...divergence(provenance),
    ...intakeFact(provenance),
    fact("Shipped", formatSize(sum(artifacts.map(({ bytes }) => bytes))), plural(artifacts.length, "file")),
    fact("Time", formatSeconds(run.seconds), keptText(provenance)),
    fact("Memory", formatSize(run.peakMemory), "at most")
  ]}
</dl>
</header>`
}

const keptText = ({ run: { jobs, steps } }: Provenance): string => {
  const kept = steps.filter((step) => step.kept).length
  return `${plural(jobs, "job")}${kept === 0 ? "" : `, ${kept} of ${steps.length} steps kept`}`
}
