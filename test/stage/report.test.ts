import { assert, describe, it } from "@effect/vitest"
import type { Provenance } from "../../src/stage/Provenance.ts"
import { escape } from "../../src/stage/report/Html.ts"
import { page } from "../../src/stage/report/Page.ts"
import { figures } from "../../src/stage/report/Plots.ts"
import { formatCount, formatError, formatSeconds, formatSize, unitFor } from "../../src/stage/report/Units.ts"
import { check, LAYERS, provenance, verification, verified } from "./provenance.ts"

/** How many layers an axis names. */
const layersNamed = (svg = "") =>
  svg.split("aria-label=\"x-axis tick label\"")[1]?.split("</g>")[0]?.match(/<text/g)?.length

const titles = (given: Provenance) => figures(given).map(({ title }) => title)

/** What the axis of errors names, of one output's. */
const errorLabels = (error: number, limit = 0.35) => {
  const checks = [check("group_pre_0", "q", error, limit)]
  const [, errors] = figures({ ...provenance, verification: { ...verification, checks } })
  const axis = errors?.wide.split("aria-label=\"y-axis tick label\"")[1]?.split("</g>")[0] ?? ""
  return [...axis.matchAll(/<text[^>]*>([^<]*)</g)].map(([, label]) => label)
}

describe("report.html", () => {
  it("names first the precision that most weights have", () => {
    const [bf16, int8, int4] = provenance.weights
    if (bf16 === undefined || int8 === undefined || int4 === undefined) throw new Error("three precisions")
    const text = page({
      ...provenance,
      weights: [{ ...bf16, weights: 1 }, { ...int8, weights: 21 }, { ...int4, weights: 78 }]
    })
    assert.isBelow(text.indexOf("A_BF16_W_INT4 78 %"), text.indexOf("A_BF16_W_INT8 21 %"))
  })

  it("shows what the build was, in words and numbers", () => {
    const text = page(verified)
    for (
      const wanted of [
        "<title>Tiny: build report</title>",
        "6.00 MiB → 3.50 MiB",
        "3.1 M numbers, 9.33 bits each",
        "BF16 33 %",
        "✓ within all limits",
        "3.2 s",
        "2 jobs, 1 of 4 steps kept",
        "200 MiB",
        "ab".repeat(32),
        `sample ${"5a".repeat(32)}`,
        "A_BF16_W_INT8, asked: BF16",
        "left out",
        "<td>quantize_embeddings</td>\n<td>yes</td>",
        "<td>onnxruntime</td>\n<td>1.30.0</td>"
      ]
    ) {
      assert.include(text, wanted)
    }
  })

  it("counts the numbers of a small model in thousands", () => {
    const [size] = provenance.weights
    const text = page({ ...provenance, weights: size === undefined ? [] : [{ ...size, weights: 49_000 }] })
    assert.include(text, "49.0 K numbers")
  })

  it("has plots of sizes and times, and of errors where there are any", () => {
    assert.deepStrictEqual(titles(provenance), ["Size of each layer", "Time of each stage", "Time of each layer"])
    assert.deepStrictEqual(titles(verified), [
      "Size of each layer",
      "Error of each part and layer",
      "Time of each stage",
      "Time of each layer"
    ])
    assert.include(page(provenance), "nothing was compared with the float model")
    assert.notInclude(page(provenance), "Closest to their limits")
  })

  it("draws each output once a layer, the worse phase, with its limit", () => {
    const [, errors] = figures(verified)
    assert.isDefined(errors)
    assert.deepStrictEqual(errors.legend.map(({ name }) => name), ["q", "hidden_out", "logits"])
    // tokens and limits of PRE, then POST; the part without any error is named, not drawn
    assert.include(errors.note, "No error at all, in any layer: CACHE.")
    assert.strictEqual(errors.wide.match(/<svg /g)?.length, 2)
    assert.strictEqual(errors.wide.match(/<title>single_pre_\d, q: 0\.0700 of 0\.3500/g)?.length, LAYERS)
    assert.notInclude(errors.wide, "group_pre")
    assert.notInclude(errors.note, "ring")
  })

  it("names the errors of an axis by 1, 2 and 5, or by powers of ten where it is long", () => {
    assert.deepStrictEqual(errorLabels(0.1), ["0.01", "0.02", "0.05", "0.1", "0.2", "0.5"])
    assert.deepStrictEqual(errorLabels(0.1, 0), ["0.01", "0.02", "0.05", "0.1"])
    assert.deepStrictEqual(errorLabels(3e-12), ["1e-12", "1e-10", "1e-8", "1e-6", "1e-4", "0.01"])
  })

  it("says of a build without any error that there is none, and shows neither rows of zeros nor empty plots", () => {
    const checks = verification.checks.map((one) => ({ ...one, error: 0 }))
    const text = page({ ...provenance, verification: { ...verification, checks } })
    assert.include(text, `${checks.length} outputs, no error at all`)
    assert.include(text, "No error at all, in any layer: PRE, CACHE, POST.")
    assert.notInclude(text, "Closest to their limits")
    assert.notMatch(text, /<ul class="legend"><\/ul>|<div class="(narrow|wide)"><\/div>/)
  })

  it("shows warnings as such, and options as they were given", () => {
    const text = page({ ...provenance, warnings: ["something to know"] })
    assert.include(text, "<li><strong>Warning:</strong> something to know</li>")
    assert.include(text, "<td>configuration_file</td>\n<td>config.py</td>")
    assert.include(text, `<td>its sha256</td>\n<td>${"cf".repeat(32)}</td>`)
    assert.include(text, "<td>loras</td>\n<td>–</td>")
    assert.notInclude(text, "<th scope=\"col\"></th><th scope=\"col\"></th>")
  })

  it("marks what is beyond its limit, in words and in the plot", () => {
    const checks = [...verification.checks, check("group_post_0", "hidden_out", 0.9, 0.35)]
    const failed = { ...provenance, verification: { ...verification, checks, passed: false } }
    assert.include(page(failed), "✗ 1 output beyond the limit")
    assert.include(page(failed), "✗ beyond")
    const [, errors] = figures(failed)
    assert.include(errors?.note, "A ring is an output beyond it.")
    assert.strictEqual(
      errors?.narrow.match(/<circle r="8"/g)?.length,
      1
    )
  })

  it("tells precisions and stages apart without colour", () => {
    const [sizes, , times] = figures(provenance)
    for (const [figure, count] of [[sizes, 3], [times, 1]] as const) {
      const fills = new Set(figure?.wide.match(/url\(#hatch-[a-z]+\)/g))
      assert.strictEqual(fills.size, count)
      for (const fill of fills) assert.include(page(provenance), `id="${fill.slice(5, -1)}"`)
    }
    const [, errors] = figures(verified)
    assert.strictEqual(new Set(errors?.legend.map(({ tone }) => tone.shape)).size, errors?.legend.length)
  })

  it("is the same for the same facts, and holds no place of this machine", () => {
    assert.strictEqual(page(verified), page(verified))
    assert.strictEqual(page(verified), page(structuredClone(verified)))
  })

  it("loads nothing and runs nothing", () => {
    const text = page(verified)
    assert.include(text, "default-src 'none'; style-src 'unsafe-inline'")
    const places = [...text.matchAll(/(?:https?:)?\/\/[a-z][^\s"'<]*/g)].map(([place]) => place)
    assert.deepStrictEqual(places.filter((place) => !place.endsWith("www.w3.org/2000/svg")), [])
    assert.notMatch(
      text,
      /<(?:script|link|img|iframe|object|embed|base|form)\b|\bon[a-z]+=|javascript:|@import|\bsrc=/i
    )
    // the only references are to the page's own hatchings
    assert.deepStrictEqual([...new Set(text.match(/url\((?!#hatch-)[^)]*\)/g))], [])
  })

  it("shows hostile names as text, wherever they stand", () => {
    const bad = `"><script>alert(1)</script><img src=x onerror=alert(2)>'&\u202e\u0007`
    const hostile: Provenance = {
      ...provenance,
      tool: { name: bad, version: bad },
      source: {
        ...provenance.source,
        name: bad,
        family: bad,
        files: [{ name: bad, bytes: 1, sha256: bad, sample: bad }]
      },
      request: { ...provenance.request, python: bad, loras: [{ name: bad }] },
      parts: [{ program: bad, layer: 0, part: bad, phase: "group", precision: "BF16", before: 1, after: 1 }],
      precision: [{ program: bad, precision: "BF16", compile: true, lora: "LORA_DISABLED" }],
      intake: {
        exact: 0,
        converted: 1,
        requantised: 0,
        tensors: [{ tensor: bad, format: bad, kind: "converted", error: 0.1 }]
      },
      verification: {
        ...verification,
        checks: [check("group_pre_0", bad, 0.1, 0.2), check(bad, bad, 0.1, 0.2), {
          ...check("group_post_0", "q", 0.3, 0.2),
          precision: bad
        }]
      },
      warnings: [bad],
      artifacts: [{ path: bad, bytes: 1, sha256: bad }],
      run: {
        ...provenance.run,
        started: bad,
        model: bad,
        configurationFile: bad,
        loraPaths: [bad],
        output: bad,
        folder: bad,
        host: { system: bad, cores: 1, node: bad, onnxruntime: bad }
      }
    }
    const text = page(hostile)
    assert.notMatch(text, /<script|<img/i)
    assert.notInclude(text, "\u202e")
    assert.notInclude(text, "\u0007")
    assert.include(text, "&lt;script&gt;alert(1)&lt;/script&gt;")
    // every tag is one of ours
    const tags = new Set([...text.matchAll(/<([a-zA-Z][\w-]*)/g)].map(([, name]) => name))
    const ours =
      "html head meta title style body svg defs pattern rect path g text circle line header h1 h2 p bdi dl div dt dd small main ul li section strong table thead tbody tr th td details summary span code"
    assert.deepStrictEqual([...tags].filter((name) => !ours.split(" ").includes(name ?? "")), [])
  })

  it("is a page for a build of nothing", () => {
    const empty: Provenance = {
      ...provenance,
      precision: [],
      parts: [],
      layers: [],
      weights: [],
      artifacts: [],
      run: { ...provenance.run, steps: [] }
    }
    assert.deepStrictEqual(figures(empty), [])
    assert.include(page(empty), "0 files")
  })

  it("names as many layers as there is room for", () => {
    const many = 120
    const layers = Array.from({ length: many }, (_, layer) => ({
      layer,
      precision: "BF16" as const,
      weights: 1,
      before: 2,
      after: 2
    }))
    const [sizes] = figures({ ...provenance, layers, source: { ...provenance.source, layers: many } })
    assert.strictEqual(layersNamed(sizes?.narrow), 6)
    assert.strictEqual(layersNamed(sizes?.wide), 24)
  })
})

describe("units", () => {
  it("are those that people read", () => {
    assert.deepStrictEqual([0, 1024, 27.26 * 2 ** 20].map(formatSize), ["0 B", "1.00 KiB", "27.3 MiB"])
    assert.deepStrictEqual([0.85, 3.21, 125, 3840].map(formatSeconds), ["850 ms", "3.2 s", "2 min 05 s", "1 h 04 min"])
    assert.deepStrictEqual([0, 0.00012, 0.2081].map(formatError), ["0", "1.2e-4", "0.2081"])
    assert.deepStrictEqual([512, 49_000, 999_949, 999_951, 134_500_000, 999_950_000, 1.24e9].map(formatCount), [
      "512",
      "49.0 K",
      "999.9 K",
      "1.0 M",
      "134.5 M",
      "1.00 B",
      "1.24 B"
    ])
    assert.deepStrictEqual(unitFor(5 * 2 ** 20), { unit: "MiB", size: 2 ** 20 })
  })

  it("escape what HTML reads", () => {
    assert.strictEqual(escape(`<a b="c" d='e'>&`), "&lt;a b=&quot;c&quot; d=&#39;e&#39;&gt;&amp;")
  })
})
