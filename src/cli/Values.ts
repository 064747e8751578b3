import { Effect } from "effect"
import { type Argument, type Flag, Param, Primitive } from "effect/cli"

/** What a shell offers for a path. */
export type PathKind = Primitive.PathType

/** Any text. effect's own check of a path would make it absolute and word its mistakes; a command does that itself. */
const path = (kind: PathKind): Primitive.Primitive<string> =>
  Object.assign(Primitive.Path(kind), { parse: (text: string) => Effect.succeed(text) })

/** A flag for which a shell offers paths; its text stays as it was typed, and nothing is looked up. */
export const pathFlag = (name: string, kind: PathKind): Flag.Flag<string> =>
  Param.makeSingle({ kind: Param.flagKind, name, primitiveType: path(kind) })

/** An argument for which a shell offers paths; its text stays as it was typed, and nothing is looked up. */
export const pathArgument = (name: string, kind: PathKind): Argument.Argument<string> =>
  Param.makeSingle({ kind: Param.argumentKind, name, primitiveType: path(kind) })

const integer: Primitive.Primitive<number> = Object.assign(Object.create(Primitive.Int), {
  parse: (text: string) => Effect.mapError(Primitive.Int.parse(text), () => "a whole number")
})

/** A flag with a whole number; every other text is refused in the same words. */
export const wholeFlag = (name: string): Flag.Flag<number> =>
  Param.makeSingle({ kind: Param.flagKind, name, primitiveType: integer })
