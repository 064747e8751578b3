import { Effect, Path } from "effect"
import { configError } from "../SourceError.ts"
import { readJson, type SourceFile } from "../SourceFile.ts"
import { Fields } from "./Fields.ts"
import { quantizationOf, type Settings, settingsFiles, settingsIn } from "./Settings.ts"

/** A settings file has some hundred bytes; one that lists modules has more. */
const maxBytes = 2 ** 20

/** What a folder says about how its weights were quantised; `file`: beside config.json, where it says so alone. */
export interface Said {
  readonly path: string
  readonly settings: Settings
  readonly file: SourceFile | undefined
}

/** Reads the settings of a folder whose config.json, at `path`, holds `config`; undefined where its weights are plain. No weight is read. */
export const readSettings = Effect.fn("quantized.readSettings")(
  function*(path: string, config: object, names: ReadonlyArray<string>) {
    const fields = yield* Effect.fromResult(quantizationOf(path, config))
    if (fields !== undefined) {
      const settings = yield* Effect.fromResult(settingsIn(fields, undefined))
      return { path, settings, file: undefined } satisfies Said
    }
    const [name, method] = Object.entries(settingsFiles).find(([name]) => names.includes(name)) ?? []
    if (name === undefined) return undefined
    const paths = yield* Path.Path
    const beside = paths.join(paths.dirname(path), name)
    const { file, json } = yield* readJson(beside, maxBytes, "python")
    if (typeof json !== "object" || json === null || Array.isArray(json)) {
      const found = JSON.stringify(json).slice(0, 100)
      return yield* configError(beside, [{ path: "(top level)", expected: "a JSON object", found, unsupported: false }])
    }
    const settings = yield* Effect.fromResult(settingsIn(new Fields(beside, name, json), method))
    return { path: beside, settings, file } satisfies Said
  }
)
