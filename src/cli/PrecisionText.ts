import { numberRanges, type Part, parts } from "../plan/Parts.ts"
import type { Choice, PrecisionTable } from "../plan/Precision.ts"
import { columns } from "./Table.ts"

const label = ({ compile, lora, precision }: Choice): string =>
  !compile || precision === undefined ? "not compiled" : lora === "LORA_DISABLED" ? precision : `${precision}  ${lora}`

type Row = readonly [parts: string, phases: string, choice: string]
type Entries = PrecisionTable

/** The rows of one layer: for each choice, the parts that have it in both phases, then those that have it in one. */
const rowsOf = (entries: Entries): ReadonlyArray<Row> => {
  const labels = [...new Set(entries.map(({ choice }) => label(choice)))]
  return labels.flatMap((text) => {
    const has = (part: Part, isGroup: boolean) =>
      entries.some(({ choice, program }) =>
        program.part === part && program.isGroup === isGroup && label(choice) === text
      )
    const phases = [
      ["group+single", (part: Part) => has(part, true) && has(part, false)],
      ["group", (part: Part) => has(part, true) && !has(part, false)],
      ["single", (part: Part) => !has(part, true) && has(part, false)]
    ] as const
    return phases.flatMap(([phase, chosen]): ReadonlyArray<Row> => {
      const named = parts.filter((part) => part !== "VISION" && chosen(part))
      return named.length === 0 ? [] : [[named.join(" "), phase, text]]
    })
  })
}

/** The table with equal layers as one: `layers 0-3  PRE CACHE POST  group+single  BF16`. */
export const precisionLines = (table: PrecisionTable): ReadonlyArray<string> => {
  const byLayer = Map.groupBy(table.filter(({ program }) => program.part !== "VISION"), ({ program }) => program.index)
  const alike = new Map<string, { readonly layers: Array<number>; readonly rows: ReadonlyArray<Row> }>()
  for (const [index, entries] of [...byLayer].sort(([a], [b]) => a - b)) {
    const rows = rowsOf(entries)
    const key = JSON.stringify(rows)
    const group = alike.get(key)
    if (group === undefined) alike.set(key, { layers: [index], rows })
    else group.layers.push(index)
  }
  const decoder = [...alike.values()].flatMap(({ layers, rows }) =>
    rows.map((
      row,
      position
    ) => [position > 0 ? "" : `layer${layers.length > 1 ? "s" : ""} ${numberRanges(layers)}`, ...row])
  )
  const vision = table.filter(({ program }) => program.part === "VISION").map((
    { choice }
  ) => ["vision", "VISION", "", label(choice)])
  return columns([...decoder, ...vision])
}
