// The thread of `Runtime`: sessions of onnxruntime, one question a message, one answer each. Promises, as the library has them.
import type { Transferable } from "node:worker_threads"
import type { InferenceSession, Tensor } from "onnxruntime-node"
import { answerWith } from "./Answering.ts"
import type { Answer, Question, Values } from "./Messages.ts"
import { createSession, loadOrt, type Numbers, ortTypes, type PortDType, textOf } from "./Ort.ts"

const sessions = new Map<number, InferenceSession>()
let count = 0

const isNumbers = (data: Tensor.DataType): data is Numbers => ArrayBuffer.isView(data)

const isPort = (name: string): name is PortDType => Object.hasOwn(ortTypes, name)

const valuesOf = ({ data, dims, type }: Tensor): Values | string => {
  const dtype = Object.entries(ortTypes).find(([, name]) => name === type)?.[0] ?? ""
  return isPort(dtype) && isNumbers(data) ? { dtype, shape: dims, data } : `an output of type ${type}`
}

const load = async ({ model, options }: Question & { readonly kind: "load" }): Promise<Answer> => {
  const ort = await loadOrt().catch(textOf)
  if (typeof ort === "string") return { kind: "missing", detail: ort }
  const session = await createSession(ort, model, options).catch(textOf)
  if (typeof session === "string") return { kind: "refused", detail: session }
  const id = count++
  sessions.set(id, session)
  return { kind: "loaded", session: id, inputs: session.inputNames, outputs: session.outputNames }
}

const run = async ({ feeds, fetches, session: id }: Question & { readonly kind: "run" }): Promise<Answer> => {
  const ort = await loadOrt()
  const session = sessions.get(id)
  if (session === undefined) return { kind: "failed", detail: `session ${id} has been released` }
  const tensors = Object.entries(feeds).map(([name, { data, dtype, shape }]) =>
    [name, new ort.Tensor(ortTypes[dtype], data, [...shape])] as const
  )
  const results = await session.run(Object.fromEntries(tensors), [...fetches])
  const values: Record<string, Values> = {}
  for (const [name, tensor] of Object.entries(results)) {
    const found = valuesOf(tensor)
    if (typeof found === "string") return { kind: "failed", detail: `${name}: ${found} cannot be read here` }
    values[name] = found
  }
  return { kind: "ran", values }
}

const release = async ({ session: id }: Question & { readonly kind: "release" }): Promise<Answer> => {
  const session = sessions.get(id)
  sessions.delete(id)
  await session?.release()
  return { kind: "released" }
}

const answer = (question: Question): Promise<Answer> =>
  question.kind === "load" ? load(question) : question.kind === "run" ? run(question) : release(question)

/** Buffers that leave with the answer: they are the results' own. */
const buffersOf = (given: Answer): ReadonlyArray<Transferable> =>
  given.kind === "ran"
    ? [...new Set(Object.values(given.values).map(({ data }) => data.buffer))].filter((buffer) =>
      buffer instanceof ArrayBuffer
    )
    : []

answerWith<Question, Answer>(answer, (detail) => ({ kind: "failed", detail }), buffersOf)
