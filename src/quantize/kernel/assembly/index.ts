export { facts, reset } from "./facts"
export { int4_bf16, int4_f16, int4_f32, int8_bf16, int8_f16, int8_f32 } from "./blocks"
export { rows_bf16, rows_f16, rows_f32, scan_bf16, scan_f16, scan_f32 } from "./rows"
