const entities: Readonly<Record<string, string>> = {
  "&": "&amp;",
  "<": "&lt;",
  ">": "&gt;",
  "\"": "&quot;",
  "'": "&#39;"
}

// Control characters, and those that turn the direction of the text around them: names come from files of others.
const unseen = /(?![\n\t])[\p{Cc}\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]/gu

/** Text in which every character is seen; others become `�`. */
export const visible = (text: string): string => text.replaceAll(unseen, "\ufffd")

/** Text as it may stand between tags and inside quoted attributes. */
export const escape = (text: string): string => visible(text).replaceAll(/[&<>"']/g, (one) => entities[one] ?? "")

/** A part of a page: markup that needs no more escaping. */
export interface Markup {
  readonly markup: string
}

/** Markup that our own code made. */
export const raw = (markup: string): Markup => ({ markup })

type Piece = string | number | Markup | ReadonlyArray<Markup>

const pieceText = (piece: Piece): string =>
  typeof piece === "string" || typeof piece === "number"
    ? escape(String(piece))
    : "markup" in piece
    ? piece.markup
    : piece.map(({ markup }) => markup).join("\n")

/** A template whose values are escaped unless they are markup already. */
export const html = (texts: TemplateStringsArray, ...pieces: ReadonlyArray<Piece>): Markup =>
  raw(texts.map((text, i) => `${text}${pieceText(pieces[i] ?? "")}`).join(""))

/** A table that scrolls within itself; columns named in `right` are set to the right. */
export const table = (
  head: ReadonlyArray<string>,
  rows: ReadonlyArray<ReadonlyArray<Piece>>,
  right: ReadonlyArray<number> = []
): Markup => {
  const side = (column: number) => raw(right.includes(column) ? " class=\"number\"" : "")
  return html`<div class="scroll" tabindex="0"><table>
<thead><tr>${head.map((cell, i) => html`<th scope="col"${side(i)}>${cell}</th>`)}</tr></thead>
<tbody>
${rows.map((row) => html`<tr>${row.map((cell, i) => html`<td${side(i)}>${cell}</td>`)}</tr>`)}
</tbody></table></div>`
}
