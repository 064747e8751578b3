/** The library behind the programs. */
export { Compiler, type CompileError, type PlanError } from "./stage/Compiler.ts"
