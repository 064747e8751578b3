import { isUtf8 } from "node:buffer"

/** What of a tokenizer is needed here. */
export interface TokenTable {
  readonly token_to_id: (token: string) => number | undefined
  readonly id_to_token: (id: number) => string | undefined
}

const byteToken = (byte: number): string => `<0x${byte.toString(16).toUpperCase().padStart(2, "0")}>`

const byteOf = (token: string | undefined): number | undefined => {
  const match = /^<0x([0-9A-F]{2})>$/.exec(token ?? "")
  return match === null ? undefined : Number.parseInt(match[1] ?? "", 16)
}

const REPLACEMENT = "\u{FFFD}"

// Control characters, which models do not write: one of them stands for bytes that are no text.
const FIRST_STAND_IN = 1
const LAST_STAND_IN = 8

const isText = (bytes: ReadonlyArray<number>): boolean => isUtf8(Uint8Array.from(bytes))

/**
 * Ids of tokens, with the UTF-8 bytes of those that the vocabulary lacks. @huggingface/tokenizers 0.2.0 does so for BPE only.
 * Source: tokenizers 0.22, models/unigram (byte_fallback).
 */
export const idsWithBytes = (
  tokens: ReadonlyArray<string>,
  table: TokenTable,
  unknown: number
): ReadonlyArray<number> =>
  tokens.flatMap((token) => {
    const id = table.token_to_id(token)
    if (id !== undefined) return [id]
    const bytes = Array.from(new TextEncoder().encode(token), (byte) => table.token_to_id(byteToken(byte)))
    const known = bytes.filter((byte) => byte !== undefined)
    return known.length === bytes.length ? known : [unknown]
  })

/**
 * Decodes with U+FFFD for every byte of a run of byte tokens that is not UTF-8 as a whole; @huggingface/tokenizers 0.2.0 gives fewer.
 * Source: tokenizers 0.22, decoders/byte_fallback.
 */
export const decodeBytes = (
  ids: ReadonlyArray<number>,
  table: TokenTable,
  decode: (ids: ReadonlyArray<number>) => string
): string => {
  const text = decode(ids)
  if (!text.includes(REPLACEMENT)) return text
  const bytes = ids.map((id) => byteOf(table.id_to_token(id)))
  const used = new Set(bytes)
  let standIn = FIRST_STAND_IN
  while (standIn < LAST_STAND_IN && (used.has(standIn) || text.includes(String.fromCharCode(standIn)))) standIn++
  const id = table.token_to_id(byteToken(standIn))
  if (id === undefined) return text
  const replaced = [...ids]
  for (let from = 0; from < ids.length;) {
    let to = from
    const run: Array<number> = []
    for (let byte = bytes[to]; byte !== undefined; byte = bytes[to]) {
      run.push(byte)
      to++
    }
    if (run.length > 0 && !isText(run)) replaced.fill(id, from, to)
    from = Math.max(to, from + 1)
  }
  return decode(replaced).replaceAll(String.fromCharCode(standIn), REPLACEMENT)
}
