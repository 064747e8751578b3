import { Effect } from "effect"
import { plan } from "../cli/Build.ts"
import { generate } from "../cli/Generate.ts"
import { llimaCommand } from "../cli/Llima.ts"
import { NotBuilt } from "../cli/NotBuilt.ts"
import { runProgram } from "./node.ts"

const refuse = (name: string) => () =>
  Effect.fail(new NotBuilt({ command: `llima ${name}`, instead: "only its options are checked" }))

/** The program; its entry file has checked Node. */
export const main = (): void => runProgram(llimaCommand({ plan, run: generate, inspect: refuse("inspect") }))
