/** How far a solve is. */
export interface SolveProgress {
  readonly seconds: number;
  /** Of the best verified placement so far, 0..1000; null before the first. */
  readonly objective: number | null;
  /** Proven upper bound so far; null before the first. */
  readonly bound: number | null;
  /** (bound - objective) / max(1, |objective|); null while either is missing. */
  readonly gap: number | null;
  /** Parts of the search that were looked at. */
  readonly nodes: number;
  /** What it is doing, in a few words. */
  readonly stage: string;
}

/** One line for people: `12.3 s  objective 907.12  bound 907.38  gap 0.029 %  41 nodes  branching`. */
export function progressLine({ seconds, objective, bound, gap, nodes, stage }: SolveProgress): string {
  const points = (value: number | null) => (value === null ? '-' : value.toFixed(3));
  const share = gap === null ? '-' : `${Number((100 * gap).toPrecision(3))} %`;
  return `${seconds.toFixed(1)} s  objective ${points(objective)}  bound ${points(bound)}  gap ${share}  ${nodes} nodes  ${stage}`;
}
