// The thread of a session: caches, embeddings and onnxruntime live here; only ids, tokens and logits pass. Promises, as the library has them.
import type { Transferable } from "node:worker_threads"
import { answerWith } from "../verify/Answering.ts"
import { createSession, loadOrt, textOf } from "../verify/Ort.ts"
import { Passes } from "./Pass.ts"
import type { Answer, Build, Programs, Question, Step } from "./Protocol.ts"

let passes: Passes | undefined

/** Largest difference of two runs of one pass, as a share of the largest logit. */
const SAME = 1e-4

const equal = (a: Float32Array | undefined, b: Float32Array | undefined): boolean => {
  if (a === undefined || b === undefined) return false
  const scale = a.reduce((largest, value) => Math.max(largest, Math.abs(value)), 0)
  return Number.isFinite(scale) && a.every((value, i) => Math.abs(value - (b[i] ?? NaN)) <= SAME * scale)
}

/**
 * Two tokens (one where a pass takes no more), then one, each through caches whose new rows are NaN before, and once more: NaN shows where attention read a row before
 * the pass wrote it, or where the pass wrote it elsewhere.
 */
const isSound = async (tested: Passes, { groupSize, positions }: Build): Promise<boolean> => {
  const tokens = Math.min(2, groupSize, positions)
  const steps: ReadonlyArray<Step> = [
    { ids: [0, 0].slice(0, tokens), position: 0, wanted: "logits", long: false, phase: "group", marks: [] },
    ...positions > tokens
      ? [{ ids: [0], position: tokens, wanted: "logits", long: false, phase: "single", marks: [] } as const]
      : []
  ]
  for (const step of steps) {
    tested.poison(step.position, step.ids.length)
    const first = await tested.run(step)
    const second = await tested.run(step)
    if (!equal(first.logits, second.logits)) return false
  }
  return true
}

const open = async (build: Build, programs: Programs): Promise<Answer> => {
  const ort = await loadOrt().catch(textOf)
  if (typeof ort === "string") return { kind: "missing", detail: ort }
  const make = (model: Uint8Array) =>
    createSession(ort, model, {
      folder: programs.folder,
      threads: programs.threads,
      accuracy: 4,
      polite: programs.single !== undefined
    })
  const group = await make(programs.group).catch(textOf)
  if (typeof group === "string") return { kind: "refused", detail: group }
  const single = programs.single === undefined ? group : await make(programs.single).catch(textOf)
  if (typeof single === "string") return { kind: "refused", detail: single }
  passes = new Passes(ort, build, programs, { group, single })
  const sound = await isSound(passes, build)
  if (!sound) {
    await Promise.all([...new Set([group, single])].map((session) => session.release()))
    passes = undefined
  }
  return { kind: "opened", sound }
}

const step = async (given: Step): Promise<Answer> => {
  if (passes === undefined) return { kind: "failed", detail: "the session is not open" }
  return { kind: "stepped", ...await passes.run(given) }
}

const buffersOf = (given: Answer): ReadonlyArray<Transferable> =>
  given.kind === "stepped" && given.logits?.buffer instanceof ArrayBuffer ? [given.logits.buffer] : []

const answer = (question: Question): Promise<Answer> =>
  question.kind === "open" ? open(question.build, question.programs) : step(question.step)

answerWith<Question, Answer>(answer, (detail) => ({ kind: "failed", detail }), buffersOf)
