/** The library behind the programs. */
export { type CompileError, Compiler, type PlanError } from "./stage/Compiler.ts"
