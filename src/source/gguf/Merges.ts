import { tokenTypes } from "./TokenTypes.ts"

/** The largest lists have 515,000; what is larger would make us allocate for it. */
export const MOST_MERGES = 2 * (2 ** 18 + 2 ** 16)

/** Characters of all merges; the largest have 5 million. */
const MOST_MERGE_TEXT = 2 ** 24

/** Characters that are looked at to find merges: the squares of the tokens' lengths. The largest vocabularies have 15 million. */
const MOST_WORK = 2 ** 26

// the place where a token is cut fits into this: a token whose square is within MOST_WORK is not longer
const MOST_LENGTH = Math.sqrt(MOST_WORK)

/** Ids by token; of two that are the same, the last. */
export const idsOf = (tokens: ReadonlyArray<string>): ReadonlyMap<string, number> => {
  const ids = new Map<string, number>()
  for (const [id, token] of tokens.entries()) ids.set(token, id)
  return ids
}

const isMade = (type: number | undefined): boolean =>
  type === undefined || type === tokenTypes.normal || type === tokenTypes.unused

/** Calls `found` with every token that two others make, and the length of the first of them; stops where it says so. */
const eachPair = (
  ids: ReadonlyMap<string, number>,
  types: ArrayLike<number>,
  found: (id: number, at: number, token: string) => boolean
): void => {
  for (const [token, id] of ids) {
    if (!isMade(types[id])) continue
    for (let at = 1; at < token.length; at++) {
      if (ids.has(token.slice(0, at)) && ids.has(token.slice(at)) && !found(id, at, token)) return
    }
  }
}

/** Whether the merges that follow from these tokens are few and short enough to be made. */
export const mergesFit = (tokens: ReadonlyArray<string>, types: ArrayLike<number>): boolean => {
  let work = 0
  let places = 0
  for (const [id, { length }] of tokens.entries()) {
    if (!isMade(types[id])) continue
    work += length * length
    places += length
  }
  if (work > MOST_WORK) return false
  if (places <= MOST_MERGES && work <= MOST_MERGE_TEXT) return true
  let count = 0
  let text = 0
  eachPair(idsOf(tokens), types, (_id, _at, { length }) => {
    count++
    text += length
    return count <= MOST_MERGES && text <= MOST_MERGE_TEXT
  })
  return count <= MOST_MERGES && text <= MOST_MERGE_TEXT
}

const idOf = (pair: number): number => Math.floor(pair / MOST_LENGTH)

/**
 * Merges that do what SentencePiece does with scores: of all pairs of pieces that make a piece, the one with the best score
 * first. Source: transformers 5.23 `generate_merges`, from which Hugging Face's own tokenizer.json files come.
 */
export function* mergesOf(
  tokens: ReadonlyArray<string>,
  types: ArrayLike<number>,
  scores: ArrayLike<number>,
  ids = idsOf(tokens)
): Generator<readonly [left: string, right: string]> {
  // id and place in one number: an object for each takes ten times the memory
  const pairs: Array<number> = []
  eachPair(ids, types, (id, at) => pairs.push(id * MOST_LENGTH + at) > 0)
  const lengthOf = (pair: number) => tokens[idOf(pair)]?.length ?? 0
  pairs.sort((a, b) =>
    (scores[idOf(b)] ?? 0) - (scores[idOf(a)] ?? 0) ||
    b % MOST_LENGTH - a % MOST_LENGTH ||
    (lengthOf(b) - b % MOST_LENGTH) - (lengthOf(a) - a % MOST_LENGTH) ||
    idOf(a) - idOf(b)
  )
  for (const pair of pairs) {
    const token = tokens[idOf(pair)] ?? ""
    yield [token.slice(0, pair % MOST_LENGTH), token.slice(pair % MOST_LENGTH)]
  }
}
