import { build } from "../cli/Build.ts"
import { compileCommand } from "../cli/Compile.ts"
import { runProgram } from "./node.ts"

/** The program; its entry file has checked Node. */
export const main = (): void => runProgram(compileCommand(build))
