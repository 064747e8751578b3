import type { Provenance } from "../stage/Provenance.ts"
import { visible } from "../stage/report/Html.ts"
import { bitsPerWeight, sum } from "../stage/report/Units.ts"
import { worstOf } from "../verify/Verification.ts"
import { formatCount, formatSeconds, formatSize } from "./Size.ts"
import { columns } from "./Table.ts"
import { verifiedText } from "./VerifiedText.ts"

/** What build.json says, for a terminal: the facts of report.html. */
export const provenanceLines = (provenance: Provenance): ReadonlyArray<string> => {
  const { artifacts, intake, layers, run, source, tool, verification, warnings, weights } = provenance
  const stages = [...Map.groupBy(run.steps, ({ stage }) => stage)]
  const byLayer = [...Map.groupBy(layers, ({ layer }) => layer)]
  const worst = verification === undefined ? undefined : worstOf(verification)
  return [
    ...columns([
      ["source", `${source.name} (${run.model}), ${source.files.length} files`],
      [
        "made by",
        `${tool.name} ${tool.version}, ${run.started}, ${formatSeconds(run.seconds)}, ${
          formatSize(run.peakMemory)
        } at most`
      ],
      [
        "machine",
        `${run.host.system}, ${run.host.cores} cores, node ${run.host.node}, onnxruntime ${
          run.host.onnxruntime ?? "none"
        }`
      ],
      ["shipped", `${artifacts.length} files, ${formatSize(sum(artifacts.map(({ bytes }) => bytes)))}`],
      ...intake === undefined
        ? []
        : [["intake", `${intake.exact} exact, ${intake.converted} converted, ${intake.requantised} requantised`]],
      [
        "verified",
        verification === undefined
          ? "no"
          : `${verification.passed ? "passed" : "failed"}: ${verifiedText(verification)}`
      ]
    ]),
    "",
    ...columns([
      ["weights", "numbers", "before", "after", "bits per weight"],
      ...weights.map((size) => [
        size.precision,
        formatCount(size.weights),
        formatSize(size.before),
        formatSize(size.after),
        bitsPerWeight([size]).toFixed(2)
      ])
    ], [1, 2, 3, 4]),
    "",
    ...columns([
      ["stage", "steps", "time"],
      ...stages.map(([stage, steps]) => [
        stage,
        `${steps.length}`,
        formatSeconds(sum(steps.map(({ seconds }) => seconds ?? 0)))
      ])
    ], [1, 2]),
    "",
    ...columns([
      ["layer", "before", "after", "time", "largest error of its limit"],
      ...byLayer.map(([layer, sizes]) => [
        `${layer}`,
        formatSize(sum(sizes.map(({ before }) => before))),
        formatSize(sum(sizes.map(({ after }) => after))),
        formatSeconds(sum(run.steps.filter((step) => step.layer === layer).map(({ seconds }) => seconds ?? 0))),
        worst === undefined ? "" : shareText(provenance, layer)
      ])
    ], [0, 1, 2, 3, 4]),
    ...warnings.map((warning) => `warning: ${warning}`)
  ].map(visible)
}

/** `v 59 %`: the output of a layer that comes closest to its limit. */
const shareText = ({ verification }: Provenance, layer: number): string => {
  const checks = verification?.checks.filter(({ program }) => new RegExp(`_${layer}$`).test(program)) ?? []
  const worst = checks.reduce<(typeof checks)[number] | undefined>(
    (most, check) => most === undefined || check.error / check.threshold > most.error / most.threshold ? check : most,
    undefined
  )
  return worst === undefined ? "" : `${worst.tensor} ${(100 * worst.error / worst.threshold).toFixed(0)} %`
}
