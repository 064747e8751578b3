// Runs in worker threads only, without Effect: onnxruntime blocks its thread, and a start of 0.1 s counts there. Promises are its API.
import type { InferenceSession, Tensor } from "onnxruntime-node"

/** The library, once it is loaded. */
export type Ort = typeof import("onnxruntime-node")

/** Arrays of numbers that go in and out of graphs. */
export type Numbers =
  | Float32Array
  | Float64Array
  | Int8Array
  | Uint8Array
  | Int16Array
  | Uint16Array
  | Int32Array
  | Uint32Array
  | BigInt64Array
  | BigUint64Array

/** Formats of graph inputs and outputs, by onnxruntime's name. It takes no f16 from JavaScript on Node 24, and no bf16 at all. */
export const ortTypes = {
  f32: "float32",
  f64: "float64",
  i8: "int8",
  u8: "uint8",
  i16: "int16",
  u16: "uint16",
  i32: "int32",
  u32: "uint32",
  i64: "int64",
  u64: "uint64",
  bool: "bool"
} as const satisfies Readonly<Record<string, Tensor.Type>>

/** A number format that a graph's inputs and outputs may have here. */
export type PortDType = keyof typeof ortTypes

/** How a session is made. */
export interface SessionOptions {
  /** threads inside an operator; 0: as many as there are cores */
  readonly threads: number
  /** absolute folder that external locations start from */
  readonly folder: string
  /** accuracy level of `DequantizeLinear → MatMul` pairs that are fused at load; MatMulNBits carry their own */
  readonly accuracy: 1 | 4
  /** threads wait without spinning: needed when several sessions take turns */
  readonly polite: boolean
  /** how much of the graph is rewritten at load: all (default), constants only, nothing */
  readonly optimisation?: "all" | "basic" | "disabled"
}

/** A system's or library's message, without the stack. */
export const textOf = (cause: unknown): string => cause instanceof Error ? cause.message : String(cause)

let loaded: Promise<Ort> | undefined

/** Loads the library; 40 to 175 ms, once. */
export const loadOrt = (): Promise<Ort> => loaded ??= import("onnxruntime-node")

/** A session over a model in memory whose weights are files of `folder`, mapped, not read. */
export const createSession = (
  ort: Ort,
  model: Uint8Array,
  { accuracy, folder, optimisation = "all", polite, threads }: SessionOptions
): Promise<InferenceSession> =>
  ort.InferenceSession.create(model, {
    intraOpNumThreads: threads,
    interOpNumThreads: 1,
    executionMode: "sequential",
    graphOptimizationLevel: optimisation,
    // what is loaded for one run gives its memory back; the arena would keep the largest session's
    enableCpuMemArena: optimisation === "all",
    logSeverityLevel: 3,
    extra: {
      session: {
        model_external_initializers_file_folder_path: folder,
        qdq_matmulnbits_accuracy_level: String(accuracy),
        ...polite ? { force_spinning_stop: "1" } : {}
      }
    }
  })
