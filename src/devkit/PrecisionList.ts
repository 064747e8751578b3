/** What was decided for one program, by the names of the configuration file. */
export interface ProgramChoice {
  /** `group_pre_0` */
  readonly name: string
  /** decoder layer; undefined for a program that belongs to none (`vision`) */
  readonly layer: number | undefined
  /** undefined exactly when `compile` is false */
  readonly precision: string | undefined
  readonly compile: boolean
  readonly lora: string
  /** precision of the output head, in the program that holds it, where it differs from `precision` */
  readonly head?: string
}

/** `devkit/precision.json`: precision, compile, lora (and head) of every program, in the order given. */
export const precisionList = (programs: ReadonlyArray<ProgramChoice>) => ({
  format: 1,
  programs: Object.fromEntries(programs.map(({ compile, head, lora, name, precision }) => [
    name,
    {
      precision: precision ?? null,
      compile,
      lora,
      ...(head === undefined || head === precision ? {} : { head })
    }
  ]))
})

/** The programs in a layer's archive, and those that the configuration file left out. */
export const layerPrograms = (
  programs: ReadonlyArray<ProgramChoice>,
  layer: number
): { readonly programs: ReadonlyArray<string>; readonly omitted: ReadonlyArray<string> } => {
  const own = programs.filter((program) => program.layer === layer)
  const names = (compile: boolean) => own.filter((program) => program.compile === compile).map(({ name }) => name)
  return { programs: names(true), omitted: names(false) }
}
