/** One figure of a benchmark beside what it is to be held against. */
export interface BenchFigure {
  readonly what: string;
  readonly unit: string;
  readonly ours: number;
  /** The peer's figure, or the limit that nothing can beat, from the same run; null where there is none. */
  readonly other: number | null;
  readonly otherName: string;
  /** ours / other. */
  readonly ratio: number | null;
}

export interface BenchTable {
  readonly title: string;
  readonly columns: readonly string[];
  readonly rows: readonly (readonly (string | number)[])[];
}

export interface BenchReport {
  readonly name: string;
  readonly figures: readonly BenchFigure[];
  readonly tables: readonly BenchTable[];
  /** What a reader must know to trust the figures. */
  readonly notes: readonly string[];
}

export function figure(
  what: string,
  unit: string,
  ours: number,
  other?: { readonly name: string; readonly value: number },
): BenchFigure {
  const value = other?.value ?? null;
  return {
    what,
    unit,
    ours,
    other: value,
    otherName: other?.name ?? '',
    ratio: value === null || value === 0 ? null : ours / value,
  };
}

/** Tells a person how far a benchmark is. */
export type Progress = (text: string) => void;
