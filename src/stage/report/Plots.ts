import type { Provenance } from "../Provenance.ts"
import type { Figure } from "./Draw.ts"
import { errorFigure } from "./ErrorPlot.ts"
import { sizeFigure } from "./SizePlot.ts"
import { timeFigures } from "./TimePlot.ts"

/** The plots of a build: size, error (when it was verified), time. */
export const figures = (provenance: Provenance): ReadonlyArray<Figure> => [
  ...sizeFigure(provenance),
  ...errorFigure(provenance),
  ...timeFigures(provenance)
]
