import type { Provenance } from "../Provenance.ts"
import type { Figure } from "./Draw.ts"
import { head } from "./Head.ts"
import { html, type Markup, raw } from "./Html.ts"
import { figures } from "./Plots.ts"
import { style } from "./Style.ts"
import { files, intakeSection, options, precisionTable, worstChecks } from "./Tables.ts"
import { hatchings } from "./Tones.ts"

const swatch = ({ as, tone }: Figure["legend"][number]): Markup => {
  const points: Readonly<Record<string, string>> = {
    circle: "M11,7a4,4 0 1 0 -8,0a4,4 0 1 0 8,0",
    triangle: "M7,2l5,9h-10z",
    square: "M3,3h8v8h-8z",
    diamond: "M7,1l4,6l-4,6l-4,-6z",
    star: "M7,1l1.6,4h4.2l-3.4,2.7l1.3,4.3l-3.7,-2.6l-3.7,2.6l1.3,-4.3l-3.4,-2.7h4.2z",
    cross: "M5,1h4v4h4v4h-4v4h-4v-4h-4v-4h4z",
    times: "M2,2l10,10M12,2l-10,10"
  }
  return as === "area"
    ? html`<svg width="14" height="14" aria-hidden="true"><rect width="14" height="14" fill="${tone.fill}"/></svg>`
    : html`<svg width="14" height="14" aria-hidden="true"><path d="${
      points[tone.shape] ?? ""
    }" fill="${tone.color}" fill-opacity=".5" stroke="${tone.color}"/></svg>`
}

const legend = (figure: Figure): Markup =>
  html`<ul class="legend">${figure.legend.map((item) => html`<li>${swatch(item)}${item.name}</li>`)}</ul>`

const section = (figure: Figure): Markup =>
  html`<section>
<h2>${figure.title}</h2>
<p class="soft">${figure.note}</p>
${figure.legend.length === 0 ? raw("") : legend(figure)}
${
    figure.wide === "" ? raw("") : html`<div class="narrow">${raw(figure.narrow)}</div>
<div class="wide">${raw(figure.wide)}</div>`
  }
</section>`

/** `report.html`: what build.json says, for people. One file that loads nothing, with no script. */
export const page = (provenance: Provenance): string => {
  const { artifacts, source, warnings } = provenance
  return html`<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<meta name="referrer" content="no-referrer">
<title>${source.name}: build report</title>
<style>
${raw(style)}
</style>
</head>
<body>
${hatchings}
${head(provenance)}
<main>
${
    warnings.length === 0
      ? raw("")
      : html`<ul class="warnings">${
        warnings.map((warning) => html`<li><strong>Warning:</strong> ${warning}</li>`)
      }</ul>`
  }
${figures(provenance).map(section)}
${worstChecks(provenance)}
<h2>Precision of each part</h2>
${precisionTable(provenance)}
${intakeSection(provenance)}
${files("Shipped files, with sha256", artifacts.map(({ bytes, path: name, sha256: hash }) => ({ name, bytes, hash })))}
${
    files(
      "Files of the source",
      source.files.map(({ bytes, name, sample, sha256 }) => ({
        name,
        bytes,
        hash: sha256 === null ? `sample ${sample ?? "unknown"}` : sha256
      }))
    )
  }
${options(provenance)}
</main>
</body>
</html>
`.markup
}
