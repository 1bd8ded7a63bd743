/**
 * How special each expert is, from the qualities of all experts on all classes: the three figures that "Fragile Mastery"
 * (GEM, arXiv 2503.22698) names. Its formulas could not be looked up; those here are our own. Pure.
 *
 * Classes differ in difficulty, so an expert's home is where it is best compared with the others, not where its figures
 * are highest.
 */

/** Quality by class, then expert, 0..1; undefined where it was not measured. */
export interface QualityMatrix {
  readonly classes: readonly string[];
  readonly experts: readonly string[];
  readonly quality: readonly (readonly (number | undefined)[])[];
}

export interface Specialisation {
  readonly expert: string;
  /** Class on which its quality is highest over the mean of all experts. */
  readonly home: string;
  /**
   * Domain specialisation index, 0..1: (r - s) / (r + s), with r its quality over the mean of all experts at home and s
   * the mean of that elsewhere. 0: as good everywhere, measured by the others; 1: of use at home only.
   */
  readonly dsi: number;
  /**
   * Generalisation gap, in quality: what it has at home less what it would have there if it were only as good beside the
   * others as it is elsewhere. What leaving its home costs, the difficulty of the classes taken off.
   */
  readonly gg: number;
  /** Cross-domain transfer ratio, 0..1: its quality over that of the class's best expert, mean over the classes that are not its home. */
  readonly cdtr: number;
}

/** One entry for each expert that was measured on two classes at least. */
export function specialisationOf(matrix: QualityMatrix): readonly Specialisation[] {
  const known = matrix.quality.map((row) => row.filter((value) => value !== undefined));
  const means = known.map((row) => meanOf(row));
  const best = known.map((row) => Math.max(0, ...row));
  return matrix.experts.flatMap((expert, at) => {
    const own = matrix.classes.flatMap((name, k) => {
      const quality = matrix.quality[k]?.[at];
      if (quality === undefined) return [];
      const [mean, most] = [means[k] ?? 0, best[k] ?? 0];
      // Where nobody is any good, everyone is as good as the others.
      return [{ name, mean, ratio: mean > 0 ? quality / mean : 1, reached: most > 0 ? quality / most : 1 }];
    });
    const home = own.reduce((most, one) => (one.ratio > most.ratio ? one : most), own[0] ?? NOWHERE);
    const away = own.filter((one) => one !== home);
    if (away.length === 0) return [];
    const elsewhere = meanOf(away.map(({ ratio }) => ratio));
    const sum = home.ratio + elsewhere;
    return [
      {
        expert,
        home: home.name,
        dsi: sum > 0 ? (home.ratio - elsewhere) / sum : 0,
        gg: home.mean * (home.ratio - elsewhere),
        cdtr: meanOf(away.map(({ reached }) => reached)),
      },
    ];
  });
}

const NOWHERE = { name: '', mean: 0, ratio: 0, reached: 0 };

function meanOf(values: readonly number[]): number {
  return values.length === 0 ? 0 : values.reduce((sum, value) => sum + value, 0) / values.length;
}
