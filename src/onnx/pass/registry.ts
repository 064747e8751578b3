import type { Graph } from "../Graph.ts"
import { cancelReshape } from "./cancel-reshape.ts"
import { deadNodes } from "./dead-nodes.ts"
import type { Pass } from "./Pass.ts"

/** Every pass; the order matters: what one leaves behind, a later one clears away. */
export const passes = [cancelReshape, deadNodes] as const satisfies ReadonlyArray<Pass>

/** The graph after all passes. */
export const simplify = (graph: Graph): Graph => passes.reduce((current, pass) => pass.run(current), graph)
