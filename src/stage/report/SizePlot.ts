import * as Plot from "@observablehq/plot"
import { precisions } from "../../plan/Precision.ts"
import type { Provenance } from "../Provenance.ts"
import { both, draw, type Figure, layerAxis, named } from "./Draw.ts"
import { tonesFor } from "./Tones.ts"
import { formatSize, sum, unitFor } from "./Units.ts"

/** Bytes of each layer by precision, and what they were; nothing of a build without weights. */
export const sizeFigure = ({ layers, source }: Provenance): ReadonlyArray<Figure> => {
  const used = precisions.filter((precision) => layers.some((size) => size.precision === precision))
  if (used.length === 0) return []
  const before = Array.from({ length: source.layers }, (_, layer) => ({
    layer,
    before: sum(layers.filter((size) => size.layer === layer).map((size) => size.before))
  }))
  const { size, unit } = unitFor(Math.max(...before.map((one) => one.before)))
  // the same tone in every report
  const tones = tonesFor(precisions).filter(({ name }) => used.some((precision) => precision === name))
  const { fill } = named(tones)
  return [{
    title: "Size of each layer",
    note:
      "Weights in the archive, by precision; the output head is in the last layer. A dash is the same layer in the source.",
    legend: tones.map((tone) => ({ name: tone.name, tone, as: "area" })),
    ...both((width) =>
      draw("Size of each layer by precision", width, {
        height: 230,
        x: layerAxis(source.layers, width),
        y: { label: unit, labelArrow: false, grid: true, nice: true, ticks: 5 },
        color: { type: "identity" },
        marks: [
          Plot.barY(layers, {
            x: "layer",
            y: ({ after }: { readonly after: number }) => after / size,
            fill: ({ precision }: { readonly precision: string }) => fill(precision),
            title: ({ after, layer, precision }: Provenance["layers"][number]) =>
              `layer ${layer}, ${precision}: ${formatSize(after)}`
          }),
          Plot.tickY(before, {
            x: "layer",
            y: (one: (typeof before)[number]) => one.before / size,
            strokeWidth: 2,
            title: (one: (typeof before)[number]) => `layer ${one.layer} in the source: ${formatSize(one.before)}`
          }),
          Plot.ruleY([0])
        ]
      })
    )
  }]
}
