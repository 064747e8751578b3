// The licences of what is bundled into dist/bin, from the bundle's own list of modules: what is added later cannot be forgotten.
import { readdirSync, readFileSync } from "node:fs"
import { join, resolve, sep } from "node:path"
import type { Plugin } from "rolldown"

/** Beside the programs. */
export const licencesFile = "THIRD_PARTY_LICENCES.txt"

interface Package {
  readonly name: string
  readonly version: string
  /** as its package.json says it */
  readonly licence: string
  /** whole texts of its files of licence and notice */
  readonly texts: ReadonlyArray<string>
}

const isLicence = (name: string): boolean =>
  /^(licen[cs]e|copying|notice)([.-]|$)/i.test(name) && !/\.([cm]?[jt]s|json)$/i.test(name)

/** The folder of the installed package that a module is of; undefined for our own. */
const folderOf = (module: string): string | undefined => {
  // the bundler's own helpers, which have no file
  if (module.startsWith("\0rolldown/")) return resolve("node_modules/rolldown")
  const [path = ""] = module.split("?")
  const place = path.lastIndexOf(`${sep}node_modules${sep}`)
  if (place < 0) return undefined
  const [first = "", second = ""] = path.slice(place + "/node_modules/".length).split(sep)
  return join(path.slice(0, place), "node_modules", first, first.startsWith("@") ? second : "")
}

const packageIn = (folder: string): Package => {
  const { license, name, version } = JSON.parse(readFileSync(join(folder, "package.json"), "utf8"))
  const texts = readdirSync(folder).filter(isLicence).sort().map((file) =>
    readFileSync(join(folder, file), "utf8").replaceAll("\r\n", "\n").trim()
  )
  if (texts.length === 0) throw new Error(`${name} ${version} is bundled and has no file of its licence: ${folder}`)
  return { name, version, licence: typeof license === "string" ? license : "see below", texts }
}

/** What a file of licences says of the packages that these modules are of, each once; fails where one has no licence. */
export const licencesOf = (modules: ReadonlyArray<string>): string => {
  const folders = new Set(modules.map(folderOf).filter((folder) => folder !== undefined))
  // one version may be installed in two places
  const packages = new Map([...folders].map(packageIn).map((one) => [`${one.name} ${one.version}`, one]))
  const sorted = [...packages].sort(([a], [b]) => a < b ? -1 : 1).map(([, one]) => one)
  return [
    "The programs in this folder hold code of these packages, under their licences.",
    ...sorted.map(({ licence, name, texts, version }) =>
      [`${"-".repeat(72)}\n${name} ${version} (${licence})`, ...texts].join("\n\n")
    )
  ].map((text) => `${text}\n`).join("\n")
}

/** Writes the licences of all chunks beside them. */
export const licences = (): Plugin => ({
  name: "licences",
  generateBundle(_options, bundle) {
    const modules = Object.values(bundle).flatMap((file) => file.type === "chunk" ? file.moduleIds : [])
    this.emitFile({ type: "asset", fileName: licencesFile, source: licencesOf(modules) })
  }
})
