import * as Plot from "@observablehq/plot"
import type { Provenance } from "../Provenance.ts"
import { both, draw, type Figure, layerAxis, named } from "./Draw.ts"
import { tonesFor } from "./Tones.ts"
import { formatSeconds, sum } from "./Units.ts"

type Timed = { readonly stage: string; readonly layer: number | null; readonly seconds: number }

/** Seconds of each stage, and of each layer's steps; nothing where no time is known. */
export const timeFigures = ({ run, source }: Provenance): ReadonlyArray<Figure> => {
  const steps = run.steps.flatMap(({ layer, seconds, stage }): ReadonlyArray<Timed> =>
    seconds === null ? [] : [{ layer, seconds, stage }]
  )
  const stages = [...new Set(steps.map(({ stage }) => stage))]
  if (stages.length === 0) return []
  const tones = tonesFor(stages)
  const { fill } = named(tones)
  const inLayers = steps.filter(({ layer }) => layer !== null)
  const totals = stages.map((stage) => ({
    stage,
    seconds: sum(steps.filter((step) => step.stage === stage).map(({ seconds }) => seconds))
  }))
  const most = Math.max(
    ...Array.from(
      { length: source.layers },
      (_, layer) => sum(inLayers.filter((step) => step.layer === layer).map(({ seconds }) => seconds))
    )
  )
  const [unit, size] = most < 1 ? ["ms", 1e-3] as const : ["s", 1] as const
  const shown = tones.filter(({ name }) => inLayers.some(({ stage }) => stage === name))
  return [
    {
      title: "Time of each stage",
      note: "Added up over its steps, some of which ran at the same time.",
      legend: [],
      ...both((width) =>
        draw("Time of each stage", width, {
          height: 24 + 34 * stages.length,
          marginLeft: 16 + 8 * Math.max(...stages.map(({ length }) => length)),
          marginRight: 64,
          marginBottom: 8,
          x: { axis: null, domain: [0, Math.max(1e-3, ...totals.map(({ seconds }) => seconds))] },
          y: { domain: stages, label: null, tickSize: 0, padding: 0.25 },
          color: { type: "identity" },
          marks: [
            Plot.barX(totals, {
              x: "seconds",
              y: "stage",
              fill: ({ stage }: { readonly stage: string }) => fill(stage)
            }),
            Plot.text(totals, {
              x: "seconds",
              y: "stage",
              text: ({ seconds }: { readonly seconds: number }) => formatSeconds(seconds),
              textAnchor: "start",
              dx: 6
            }),
            Plot.ruleX([0])
          ]
        })
      )
    },
    ...shown.length === 0 ? [] : [{
      title: "Time of each layer",
      note: "Its steps one after the other, by stage.",
      legend: shown.map((tone) => ({ name: tone.name, tone, as: "area" as const })),
      ...both((width) =>
        draw("Time of each layer by stage", width, {
          height: 230,
          x: layerAxis(source.layers, width),
          y: { label: unit, labelArrow: false, grid: true, nice: true, ticks: 5 },
          color: { type: "identity" },
          marks: [
            Plot.barY(inLayers, {
              x: "layer",
              y: ({ seconds }: Timed) => seconds / size,
              fill: ({ stage }: Timed) => fill(stage),
              title: ({ layer, seconds, stage }: Timed) => `layer ${layer ?? ""}, ${stage}: ${formatSeconds(seconds)}`
            }),
            Plot.ruleY([0])
          ]
        })
      )
    }]
  ]
}
