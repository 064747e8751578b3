import { Result, Runtime, Schema } from "effect"
import { CliError } from "effect/cli"
import type { Graph } from "./Graph.ts"
import { readGraph } from "./ReadGraph.ts"
import { readPair, refuse } from "./ReadTensor.ts"
import { WireReader } from "./WireReader.ts"
import { WireWriter } from "./WireWriter.ts"
import { sorted, writeGraph, writePair } from "./WriteGraph.ts"

/** Bytes that are no ONNX model, or one with parts that we do not read. */
export class OnnxInvalid extends Schema.TaggedError<OnnxInvalid>()("OnnxInvalid", {
  /** the place in the model: `graph.initializer[3] (w2)` */
  where: Schema.String,
  expected: Schema.String,
  found: Schema.String
}) {
  override readonly [Runtime.errorExitCode] = 3
  override get message() {
    return `ONNX model, ${this.where}: expected ${this.expected}, found ${this.found}; make the file again`
  }
  override get [CliError.userMessage]() {
    return this.message
  }
}

/** The oldest version of the file format that has an opset. Source: onnx/docs/Versioning.md, onnx 1.19. */
const irVersion = (opset: number): number => opset <= 22 ? 10 : opset === 23 ? 11 : opset === 24 ? 12 : 13

/**
 * The graph as a ModelProto; equal graphs give equal bytes. An own writer because it needs no dependency and is no slower than
 * the libraries: 30 ms for 20,000 nodes, they take 30 to 94 (host-measurements, section 2). Source: onnx.proto, onnx 1.19.
 */
export const encode = (graph: Graph): Uint8Array => {
  const writer = new WireWriter()
  writer.int(1, irVersion(graph.opset))
  writer.string(2, "llima-compile")
  writer.message(7, () => writeGraph(writer, graph))
  const opset = (domain: string, version: number) =>
    writer.message(8, () => {
      writer.string(1, domain)
      writer.int(2, version)
    })
  opset("", graph.opset)
  if (graph.nodes.some(({ domain }) => domain === "com.microsoft")) opset("com.microsoft", 1)
  for (const [key, value] of sorted(graph.metadata)) writePair(writer, 14, key, value)
  return writer.finish()
}

/**
 * Reads a ModelProto. Every length is checked before it is believed; fields we do not know are skipped; subgraphs, functions,
 * tensor attributes, strings and sparse tensors are refused. Inline bytes are views of `bytes`. Source: onnx.proto, onnx 1.19.
 */
export const decode = (bytes: Uint8Array): Result.Result<Graph, OnnxInvalid> => {
  const reader = new WireReader()
  let graph: Omit<Graph, "opset" | "metadata"> | undefined
  let opset = 0
  const metadata: Array<readonly [string, string]> = []
  reader.message(bytes, "model", {
    7: (field, where) => graph = readGraph(reader, reader.bytes(field, where)),
    8: (field, where) => {
      let [domain, version] = ["", 0]
      reader.message(reader.bytes(field, where), "opset_import", {
        1: (inner) => domain = reader.string(inner, "opset_import"),
        2: (inner) => version = reader.int(inner, "opset_import")
      })
      if (domain === "" || domain === "ai.onnx") opset = version
    },
    14: (field, where) =>
      metadata.push(readPair(reader, reader.bytes(field, where), `metadata_props[${metadata.length}]`)),
    20: refuse(reader, "training information"),
    25: refuse(reader, "a local function")
  })
  if (graph === undefined) reader.fail("model", "a graph", `none in ${bytes.length} bytes`)
  if (opset < 1) reader.fail("model", "a version of ai.onnx", `${opset}`)
  if (reader.problem !== undefined || graph === undefined) {
    return Result.fail(new OnnxInvalid(reader.problem ?? { where: "model", expected: "a graph", found: "none" }))
  }
  const sorted = metadata.sort(([a], [b]) => a < b ? -1 : 1)
  return Result.succeed({ ...graph, opset, metadata: Object.fromEntries(sorted) })
}
