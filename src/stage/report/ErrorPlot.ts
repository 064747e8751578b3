import * as Plot from "@observablehq/plot"
import type { Provenance } from "../Provenance.ts"
import { both, draw, type Figure, layerAxis, named } from "./Draw.ts"
import { type Tone, tonesFor } from "./Tones.ts"
import { formatError } from "./Units.ts"

interface Point {
  readonly part: string
  readonly tensor: string
  readonly layer: number
  readonly program: string
  readonly error: number
  readonly threshold: number
  readonly passed: boolean
}

/** The worse phase of each layer's outputs. */
const pointsOf = ({ checks }: NonNullable<Provenance["verification"]>): ReadonlyArray<Point> => {
  const worst = new Map<string, Point>()
  for (const { error, passed, program, tensor, threshold } of checks) {
    const match = /^(?:group|single)_([a-z]+)_(\d+)/.exec(program)
    if (match === null) continue
    const part = (match[1] ?? "").toUpperCase()
    const key = `${part} ${match[2] ?? ""} ${tensor}`
    const before = worst.get(key)
    if (before !== undefined && before.error / before.threshold >= error / threshold) continue
    worst.set(key, { part, tensor, layer: Number(match[2]), program, error, threshold, passed })
  }
  return [...worst.values()]
}

/** Labels that fit the height of a plot. */
const maxTicks = 7

/** 1, 2 and 5 of each power of ten; where these are many, powers alone, evenly apart. */
const ticksOf = (floor: number, top: number): ReadonlyArray<number> => {
  const first = Math.round(Math.log10(floor))
  const powers = Array.from({ length: Math.floor(Math.log10(top)) - first + 1 }, (_, i) => first + i)
  const step = Math.ceil(powers.length / maxTicks)
  const fine = powers.flatMap((power) => [1, 2, 5].map((digit) => Number(`${digit}e${power}`)))
    .filter((tick) => tick <= top)
  return fine.length <= maxTicks ? fine : powers.filter((_, i) => i % step === 0).map((power) => Number(`1e${power}`))
}

/** One part's outputs over the layers, on a logarithmic axis from below its least error to above its limits. */
const errorPlot = (
  part: string,
  points: ReadonlyArray<Point>,
  tones: ReadonlyArray<Tone>,
  layers: number,
  width: number
) => {
  const { color, shape } = named(tones)
  // a logarithmic axis has no place for 0, which a build.json from elsewhere may hold as a limit
  const drawn = points.flatMap(({ error, threshold }) => [error, threshold]).filter((value) => value > 0)
  const least = Math.min(...drawn)
  const most = Math.max(...drawn)
  const floor = 10 ** Math.floor(Math.log10(least / 1.5))
  const y = ({ error }: Point) => Math.max(floor, error)
  const limits = [...new Map(points.map((point) => [`${point.layer} ${point.threshold}`, point])).values()]
  return draw(`Relative errors of ${part} by layer, logarithmic`, width, {
    height: 170,
    marginTop: 26,
    x: layerAxis(layers, width),
    y: {
      type: "log",
      domain: [floor, most * 1.5],
      label: null,
      grid: true,
      ticks: ticksOf(floor, most * 1.5),
      tickSize: 0,
      tickFormat: (value: number) => value >= 0.001 ? String(value) : value.toExponential(0)
    },
    color: { type: "identity" },
    symbol: { type: "identity" },
    marks: [
      Plot.frame({ stroke: "var(--line)" }),
      Plot.text([part], { frameAnchor: "top-left", dx: 2, dy: -16, fontWeight: "bold" }),
      Plot.tickY(limits, {
        x: "layer",
        y: "threshold",
        strokeWidth: 2
      }),
      Plot.dot(points, {
        x: "layer",
        y,
        symbol: ({ tensor }: Point) => shape(tensor),
        stroke: ({ tensor }: Point) => color(tensor),
        fill: ({ error, tensor }: Point) => error < floor ? "none" : color(tensor),
        fillOpacity: 0.5,
        r: width < 500 ? 2.5 : 4,
        title: ({ error, program, tensor, threshold }: Point) =>
          `${program}, ${tensor}: ${formatError(error)} of ${formatError(threshold)}`
      }),
      Plot.dot(points.filter(({ passed }) => !passed), { x: "layer", y, r: 8, stroke: "var(--red)", strokeWidth: 2 })
    ]
  })
}

/** Errors of each part over the layers, with their limits; nothing of a build that was not verified. */
export const errorFigure = ({ source, verification }: Provenance): ReadonlyArray<Figure> => {
  const points = verification === undefined ? [] : pointsOf(verification)
  if (points.length === 0) return []
  const parts = [...Map.groupBy(points, ({ part }) => part)]
  const without = parts.filter(([, of]) => of.every(({ error }) => error === 0)).map(([part]) => part)
  const drawn = parts.filter(([part]) => !without.includes(part))
  const tones = tonesFor([...new Set(drawn.flatMap(([, of]) => of.map(({ tensor }) => tensor)))])
  return [{
    title: "Error of each part and layer",
    note: [
      "Each output beside the float model: relative error, the worse of prefill and decode; less is better.",
      ...drawn.length > 0 ? ["A dash is the limit."] : [],
      ...drawn.some(([, of]) => of.some(({ error }) => error === 0))
        ? ["A hollow mark on the lowest line is no error at all."]
        : [],
      ...points.some(({ passed }) => !passed) ? ["A ring is an output beyond it."] : [],
      ...without.length > 0 ? [`No error at all, in any layer: ${without.join(", ")}.`] : []
    ].join(" "),
    legend: tones.map((tone) => ({ name: tone.name, tone, as: "point" })),
    ...both((width) => drawn.map(([part, of]) => errorPlot(part, of, tones, source.layers, width)).join("\n"))
  }]
}
