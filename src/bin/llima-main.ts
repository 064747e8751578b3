import { plan } from "../cli/Build.ts"
import { generate } from "../cli/Generate.ts"
import { inspect } from "../cli/Inspect.ts"
import { llimaCommand } from "../cli/Llima.ts"
import { report } from "../cli/ReportPage.ts"
import { verify } from "../cli/Verify.ts"
import { runProgram } from "./node.ts"

/** The program; its entry file has checked Node. */
export const main = (): void => runProgram(llimaCommand({ plan, run: generate, inspect, verify, report }))
