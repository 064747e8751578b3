import type { Graph } from "../../onnx/Graph.ts"
import { deadNodes } from "../../onnx/pass/dead-nodes.ts"
import type { Pass } from "../../onnx/pass/Pass.ts"
import { centre } from "./centre.ts"
import { fuseConcat } from "./fuse-concat.ts"
import { hideRows } from "./hide-rows.ts"
import { nbits } from "./nbits.ts"
import { taps } from "./taps.ts"

/** Rewrites for onnxruntime on this machine, in order. */
export const lowerings = [nbits, centre, fuseConcat, taps, hideRows, deadNodes] as const satisfies ReadonlyArray<Pass>

/** A quantised graph as onnxruntime runs it best; graphs without codes are as before. */
export const lower = (graph: Graph): Graph => lowerings.reduce((current, pass) => pass.run(current), graph)
