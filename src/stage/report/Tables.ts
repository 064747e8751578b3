import { numberRanges } from "../../plan/Parts.ts"
import type { Provenance } from "../Provenance.ts"
import { html, type Markup, table } from "./Html.ts"
import { formatError, formatSize, plural, sum } from "./Units.ts"

/** Layers whose parts are alike in one row, prefill and decode too. */
export const precisionTable = ({ parts, precision }: Provenance): Markup => {
  const asked = new Map(precision.map((row) => [row.program, row]))
  const wanted = (program: string): string => {
    const row = asked.get(program)
    return row === undefined || !row.compile || row.precision === null ? "left out" : row.precision
  }
  const phases = (part: string, layer: number, key: string): string =>
    parts.filter((one) => one.part === part && one.layer === layer && keyOf(one) === key).map(({ phase }) => phase)
      .join(" ")
  const keyOf = (one: Provenance["parts"][number]): string => JSON.stringify([one.precision, wanted(one.program)])
  const groups = Map.groupBy(
    parts,
    (one) => JSON.stringify([one.part, keyOf(one), phases(one.part, one.layer, keyOf(one))])
  )
  const rows = [...groups.values()].flatMap((alike) => {
    const [first] = alike
    if (first === undefined) return []
    const one = alike.filter(({ phase }) => phase === first.phase)
    const found = first.precision ?? "left out"
    const other = wanted(first.program)
    return [[
      numberRanges([...new Set(alike.map(({ layer }) => layer))].sort((a, b) => a - b)),
      first.part,
      phases(first.part, first.layer, keyOf(first)),
      other === found ? found : `${found}, asked: ${other}`,
      formatSize(sum(one.map(({ before }) => before))),
      formatSize(sum(one.map(({ after }) => after)))
    ]]
  })
  return table(["layers", "part", "phases", "precision", "before", "after"], rows, [4, 5])
}

/** The outputs that are closest to their limits, or beyond; those without any error are not worth a line. */
export const worstChecks = ({ verification }: Provenance): ReadonlyArray<Markup> => {
  if (verification === undefined) return []
  const shown = verification.checks.filter(({ error }) => error > 0)
    .sort((a, b) => b.error / b.threshold - a.error / a.threshold).slice(0, 12)
  return shown.length === 0 ? [] : [html`<h2>Closest to their limits</h2>
${
    table(
      ["program", "output", "error", "limit", "", "precision"],
      shown.map(({ error, passed, precision, program, tensor, threshold }) => [
        program,
        tensor,
        formatError(error),
        formatError(threshold),
        passed ? "✓" : "✗ beyond",
        precision
      ]),
      [2, 3]
    )
  }`]
}

/** Tensors that were quantised before and are not what they were. */
export const intakeSection = ({ intake }: Provenance): ReadonlyArray<Markup> => {
  const changed = intake?.tensors.filter(({ kind }) => kind !== "exact") ?? []
  return changed.length === 0 ?
    [] :
    [html`<details><summary>Tensors that were rounded again (${changed.length})</summary>
${
      table(
        ["tensor", "stored as", "", "error"],
        changed.map((
          { error, format, kind, tensor }
        ) => [tensor, format, kind, error === null ? "" : formatError(error)]),
        [3]
      )
    }</details>`]
}

/** Files with what tells them from others, folded. */
export const files = (title: string, list: ReadonlyArray<{ name: string; bytes: number; hash: string }>): Markup =>
  html`<details><summary>${title} (${list.length})</summary>
${
    list.map(({ bytes, hash, name }) =>
      html`<div class="artifact"><bdi>${name}</bdi><span>${formatSize(bytes)}</span><code>${hash}</code></div>`
    )
  }
</details>`

const optionText = (value: unknown): string =>
  value === null || value === false || Array.isArray(value) && value.length === 0
    ? "–"
    : value === true
    ? "yes"
    : typeof value === "object"
    ? JSON.stringify(value)
    : String(value)

const snake = (name: string): string => name.replaceAll(/[A-Z]/g, (capital) => `_${capital.toLowerCase()}`)

/** What was asked, and on what machine, folded. */
export const options = ({ request, run }: Provenance): Markup => {
  const { configuration: file, ...rest } = request
  const rows: ReadonlyArray<readonly [string, string]> = [
    ["model", run.model],
    ["output", run.output],
    ["configuration_file", optionText(run.configurationFile)],
    ...file === null ? [] : [["its sha256", optionText(file.sha256)] as const],
    ...Object.entries(rest).map(([name, value]) => [snake(name), optionText(value)] as const),
    ["jobs", String(run.jobs)],
    ["max_memory", formatSize(run.maxMemory)],
    ["started", run.started],
    ["machine", `${run.host.system}, ${plural(run.host.cores, "core")}`],
    ["node", run.host.node],
    ["onnxruntime", optionText(run.host.onnxruntime)]
  ]
  return html`<details class="options"><summary>Options and machine</summary>${
    table(["option", "value"], rows)
  }</details>`
}
