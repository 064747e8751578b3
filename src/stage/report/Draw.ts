import * as Plot from "@observablehq/plot"
import { parseHTML } from "linkedom"
import { visible } from "./Html.ts"
import type { Tone } from "./Tones.ts"

/** One plot, drawn for a phone and for a wider window. */
export interface Figure {
  readonly title: string
  readonly note: string
  readonly legend: ReadonlyArray<{ readonly name: string; readonly tone: Tone; readonly as: "area" | "point" }>
  readonly narrow: string
  readonly wide: string
}

/** Widths in pixels. */
const widths = { narrow: 344, wide: 868 }

const { document } = parseHTML("<html><body></body></html>")

/** Coordinates with two digits behind the point; texts whose every character is seen (linkedom has escaped them). */
const finished = (svg: string): string =>
  visible(svg).replaceAll(/<[^>]*>/g, (tag) => tag.replaceAll(/(\d\.\d\d)\d+/g, "$1"))

/** A plot as SVG, `label` for those who do not see it. */
export const draw = (label: string, width: number, options: Plot.PlotOptions): string =>
  finished(
    Plot.plot({
      document,
      className: "plot",
      width,
      marginLeft: 48,
      marginRight: 8,
      marginBottom: 36,
      ariaLabel: label,
      ...options
    }).outerHTML
  )

/** The same plot for a phone and for a wider window. */
export const both = (make: (width: number) => string) => ({ narrow: make(widths.narrow), wide: make(widths.wide) })

/** Layers as a band, with as many of them named as there is room for. */
export const layerAxis = (layers: number, width: number) => {
  const step = [1, 2, 4, 5, 10, 20, 50].find((one) => layers / one * 28 <= width - 56) ?? 100
  const all = Array.from({ length: layers }, (_, layer) => layer)
  return {
    type: "band" as const,
    domain: all,
    ticks: all.filter((layer) => layer % step === 0),
    tickFormat: String,
    tickSize: 0,
    label: "layer",
    labelArrow: false,
    padding: 0.15
  }
}

/** Fill, colour and shape by name. */
export const named = (tones: ReadonlyArray<Tone>) => {
  const known = new Map(tones.map((tone) => [tone.name, tone]))
  return {
    fill: (name: string): string => known.get(name)?.fill ?? "currentColor",
    color: (name: string): string => known.get(name)?.color ?? "currentColor",
    shape: (name: string): Tone["shape"] => known.get(name)?.shape ?? "circle"
  }
}
