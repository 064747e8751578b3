/** What a token is. Source: ggml docs/gguf.md, `tokenizer.ggml.token_type`. */
export const tokenTypes = { normal: 1, unknown: 2, control: 3, userDefined: 4, unused: 5, byte: 6 } as const

/** Types of tokens that are found in a text before it is cut. */
export const addedTypes: ReadonlySet<number> = new Set([tokenTypes.unknown, tokenTypes.control, tokenTypes.userDefined])
