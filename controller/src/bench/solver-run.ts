/** What one solver made of one instance, measured from outside: the whole process, reading included. */
export interface SolverRun {
  readonly solver: string;
  /** `failed`: it crashed, was killed, or gave nothing that can be read. */
  readonly status: 'optimal' | 'feasible' | 'infeasible' | 'timeout' | 'failed';
  /** 0..1000 for placements; the solver's own word, except ours, which is recomputed. */
  readonly objective: number | null;
  readonly bound: number | null;
  /** (bound - objective) / max(1, |objective|) */
  readonly gap: number | null;
  readonly nodes: number | null;
  readonly wallS: number;
  readonly cpuS: number;
  readonly peakBytes: number;
}

export const gapOf = (objective: number | null, bound: number | null): number | null =>
  objective === null || bound === null ? null : Math.max(0, (bound - objective) / Math.max(1, Math.abs(objective)));

/** What a plan of ours has to be proven to, to be called optimal. */
const PROVEN_GAP = 1.5e-6;

/** Solvers call a plan optimal when it is within the gap asked for; here it is when it is proven as ours has to be. */
export function provenStatus(status: SolverRun['status'], gap: number | null): SolverRun['status'] {
  if (gap === null || (status !== 'optimal' && status !== 'feasible')) return status;
  return gap <= PROVEN_GAP ? 'optimal' : 'feasible';
}

export const RUN_COLUMNS = [
  'instance',
  'solver',
  'status',
  'objective',
  'bound',
  'gap %',
  's',
  'CPU s',
  'MiB',
  'nodes',
];

export function runRow(instance: string, run: SolverRun): readonly (string | number)[] {
  const points = (value: number | null) => (value === null ? '-' : value.toFixed(4));
  return [
    instance,
    run.solver,
    run.status,
    points(run.objective),
    points(run.bound),
    run.gap === null ? '-' : run.gap < 1e-9 ? 0 : Number((100 * run.gap).toPrecision(3)),
    Number(run.wallS.toFixed(2)),
    Number(run.cpuS.toFixed(2)),
    Math.round(run.peakBytes / 2 ** 20),
    run.nodes ?? '-',
  ];
}
