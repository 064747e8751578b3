const namePattern = /^(group|single)_([a-z]+)_([0-9]+)$/

const phases: Readonly<Record<string, string>> = { group: "prefill", single: "decode" }

/** `4-29`, `0-3, 7` of any numbers. */
const ranges = (numbers: ReadonlyArray<number>): string => {
  const runs: Array<readonly [from: number, to: number]> = []
  for (const number of numbers.toSorted((a, b) => a - b)) {
    const last = runs.at(-1)
    if (last?.[1] === number - 1) runs[runs.length - 1] = [last[0], number]
    else if (last?.[1] !== number) runs.push([number, number])
  }
  return runs.map(([from, to]) => from === to ? `${from}` : `${from}-${to}`).join(", ")
}

const joined = (words: ReadonlyArray<string>): string =>
  words.length < 2 ? words.join("") : `${words.slice(0, -1).join(", ")} and ${words.at(-1)}`

/** Programs by their names (`group_pre_4`), parts of the same layers together: `CACHE and POST of layers 4-29, prefill and decode`. */
export const programRanges = (programs: ReadonlyArray<string>): string => {
  const found = programs.flatMap((program) => {
    const [, phase = "", part = "", index = ""] = namePattern.exec(program) ?? []
    return index === "" ? [] : [{ phase, part: part.toUpperCase(), index: Number(index) }]
  })
  const rows = [...Map.groupBy(found, ({ part, phase }) => `${part} ${phase}`).values()].map((all) => ({
    part: all[0]?.part ?? "",
    phase: phases[all[0]?.phase ?? ""] ?? "",
    layers: ranges(all.map(({ index }) => index))
  }))
  // first the phases of a part that lack the same layers, then the parts that lack the same in the same phases
  const parts = [...Map.groupBy(rows, ({ layers, part }) => `${part} ${layers}`).values()].map((all) => ({
    part: all[0]?.part ?? "",
    where: `of layer${/^[0-9]+$/.test(all[0]?.layers ?? "") ? "" : "s"} ${all[0]?.layers}, ${
      joined(all.map(({ phase }) => phase))
    }`
  }))
  const others = programs.filter((program) => !namePattern.test(program))
  return [
    ...[...Map.groupBy(parts, ({ where }) => where)].map(([where, all]) =>
      `${joined(all.map(({ part }) => part))} ${where}`
    ),
    ...others
  ].join("; ")
}
