import { html, type Markup, raw } from "./Html.ts"

/** How the items of a plot are told apart: by colour, and without it by hatching (areas) or shape (points). */
export interface Tone {
  readonly name: string
  /** CSS */
  readonly color: string
  readonly fill: string
  readonly shape: (typeof shapes)[number]
}

// Okabe and Ito's palette, which people of every colour vision tell apart; the page gives each a lighter value on a dark ground.
const colors = ["blue", "orange", "green", "purple", "red", "sky", "grey"] as const
const shapes = ["circle", "triangle", "square", "diamond", "star", "cross", "times"] as const

/** Strokes over a tile of 8 × 8 pixels, by colour; the first is plain. */
const hatches = [
  "",
  "M-2,2l4,-4M0,8l8,-8M6,10l4,-4",
  "M4,0v8",
  "M0,4h8",
  "M-2,6l4,4M0,0l8,8M6,-2l4,4",
  "M4,0v8M0,4h8",
  "M-2,2l4,-4M0,8l8,-8M6,10l4,-4M-2,6l4,4M0,0l8,8M6,-2l4,4"
]

/** A tone for each name, in their order. */
export const tonesFor = (names: ReadonlyArray<string>): ReadonlyArray<Tone> =>
  names.flatMap((name, i) => {
    const color = colors[i % colors.length]
    const shape = shapes[i % shapes.length]
    return color === undefined || shape === undefined
      ? []
      : [{ name, color: `var(--${color})`, fill: `url(#hatch-${color})`, shape }]
  })

/** The hatchings that tones refer to, once a page. */
export const hatchings: Markup = html`<svg class="definitions" width="0" height="0" aria-hidden="true"><defs>
${
  colors.map((color, i) =>
    html`<pattern id="hatch-${color}" width="8" height="8" patternUnits="userSpaceOnUse"><rect width="8" height="8" fill="var(--${color})"/>${
      hatches[i] === ""
        ? raw("")
        : html`<path d="${hatches[i] ?? ""}" fill="none" stroke="var(--paper)" stroke-width="1.5"/>`
    }</pattern>`
  )
}
</defs></svg>`
