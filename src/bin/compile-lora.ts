import { Effect } from "effect"
import { compileLoraCommand } from "../cli/CompileLora.ts"
import { NotBuilt } from "../cli/NotBuilt.ts"
import { runProgram } from "./node.ts"

const refuse = () =>
  Effect.fail(
    new NotBuilt({ command: "llima-compile-lora", instead: "compile the base model without adapters for now" })
  )

/** The program; its entry file has checked Node. */
export const main = (): void => runProgram(compileLoraCommand(refuse))
