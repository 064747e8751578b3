import { type BlobLayout, layoutBlob } from "../quantize/Blob.ts"
import { weightsOf } from "../quantize/Quantizer.ts"
import { schemeOf } from "../quantize/scheme/registry.ts"
import { keyOf } from "./Identity.ts"
import { graphOf, type Job } from "./Job.ts"
import { type Part, type Program, programName } from "./Parts.ts"
import { choiceOf } from "./Precision.ts"

/** One file of quantised weights, of one part under one scheme; prefill and decode read the same when their precision is the same. */
export interface Blob {
  /** file name: part, layer, scheme, and the key of what is in it */
  readonly name: string
  readonly layout: BlobLayout
  /** programs whose graphs read it */
  readonly programs: ReadonlyArray<Program>
}

const weighty = ["PRE", "POST"] as const satisfies ReadonlyArray<Part>

/** The blobs of a layer, one for each part and scheme that a compiled program asks for. */
export const blobsOf = (job: Job, index: number): ReadonlyArray<Blob> =>
  weighty.flatMap((part) => {
    const graph = graphOf(job, { part, isGroup: true, index })
    const wanted = new Map<string, Array<Program>>()
    for (const isGroup of [true, false]) {
      const { compile, precision } = choiceOf(job.table, part, isGroup, index)
      if (!compile || precision === undefined || schemeOf(precision) === undefined) continue
      wanted.set(precision, [...wanted.get(precision) ?? [], { part, isGroup, index }])
    }
    return [...wanted].flatMap(([precision, programs]) => {
      const scheme = schemeOf(precision)
      if (scheme === undefined) return []
      const weights = weightsOf(graph, scheme, job.model.facts.head)
      // not of the checkpoint's files: the same checkpoint in another folder gives the same graphs, which name the blob
      const key = keyOf({ scheme, weights })
      const name = `${part.toLowerCase()}_${index}.${scheme.name}.${key.slice(0, 16)}.bin`
      return weights.length === 0 ? [] : [{ name, layout: layoutBlob(weights), programs }]
    })
  })

/** The blob that a program's graph reads; undefined where its weights stay as they are. */
export const blobFor = (blobs: ReadonlyArray<Blob>, program: Program): Blob | undefined =>
  blobs.find(({ programs }) => programs.some((other) => programName(other) === programName(program)))
