/**
 * Repairs that move bounds of several groups at once: less of each than any group alone would need, or where none alone
 * is enough.
 */
import { applyRepair, type BoundChange, type Repair, WHOLE, widened } from './bound-change.js';
import type { BoundOf } from './exact-parts.js';
import { CONSTRAINT_GROUPS, type ConstraintGroup } from './plan.js';
import type { PlacementProblem } from './problem.js';

/** The least moves of some groups; `dear` counts more, so that the others move instead. */
export type AskRepair = (
  problem: PlacementProblem,
  groups: ReadonlySet<ConstraintGroup>,
  dear?: ConstraintGroup,
) => Promise<Repair | undefined>;

export interface JointQuestion {
  readonly problem: PlacementProblem;
  readonly conflict: readonly ConstraintGroup[];
  /** What each group alone would have to give, for those that can repair it alone. */
  readonly singles: ReadonlyMap<ConstraintGroup, Repair>;
  readonly ask: AskRepair;
  /** No new question is asked once this is true. */
  readonly isOver: () => boolean;
}

/** As many as a person compares. */
const MOST = 3;
/** Rounding to four digits must not make one repair look better than another. */
const ROUNDING = 2e-3;
/** What an operator decides; the rest is bought, or is physics. */
const NEGOTIABLE: readonly ConstraintGroup[] = [
  'demand',
  'latency',
  'tail',
  'energy',
  'power',
  'sitepower',
  'replicas',
  'variants',
  'move',
];

/** Up to three joint repairs, none of them dominated by another or by a single group's, the smallest first. */
export async function jointRepairs(question: JointQuestion): Promise<Repair[]> {
  const { singles } = question;
  const found = singles.size > 0 ? await shared(question) : await together(question);
  return pareto([...singles.values()], found).slice(0, MOST);
}

/** One group gives half of what it would give alone, and a second the rest. */
async function shared({ problem, singles, ask, isOver }: JointQuestion): Promise<Repair[]> {
  const groups = [...singles.keys()];
  const found: Repair[] = [];
  for (const first of groups) {
    for (const second of groups) {
      const whole = singles.get(first);
      if (first === second || whole === undefined || isOver()) continue;
      const half = halved(whole);
      if (half.changes.length === 0) continue;
      const rest = await ask(applyRepair(problem, half), new Set([second]));
      if (rest === undefined || rest.changes.length === 0 || isOver()) continue;
      // The second may have had to give more than the rest: then the first need not give its half.
      const least = await ask(applyRepair(problem, rest), new Set([first]));
      if (least !== undefined) found.push({ changes: [...least.changes, ...rest.changes] });
    }
  }
  return found;
}

function halved({ changes }: Repair): Repair {
  return {
    changes: changes.flatMap((change) => {
      const { group, from, to } = change;
      const size = Math.abs(to - from) / 2;
      const half = widened(group, from, WHOLE.has(group) ? Math.floor(size) : size);
      return half === from || half === to ? [] : [{ ...change, to: half }];
    }),
  };
}

/**
 * Where no group alone is enough: the conflict's groups together; when not even those are, there is a second conflict
 * beside the first, and all that an operator decides is asked, then everything. Each group that gives is once made dear.
 */
async function together({ problem, conflict, ask, isOver }: JointQuestion): Promise<Repair[]> {
  for (const groups of [conflict, NEGOTIABLE, CONSTRAINT_GROUPS]) {
    if (isOver()) return [];
    const allowed = new Set(groups.filter((group) => group !== 'util'));
    const first = await ask(problem, allowed);
    if (first === undefined || first.changes.length === 0) continue;
    const found = [first];
    for (const dear of new Set(first.changes.map(({ group }) => group))) {
      const other = isOver() ? undefined : await ask(problem, allowed, dear);
      if (other !== undefined && other.changes.length > 0) found.push(other);
    }
    return found;
  }
  return [];
}

const nameOf = ({ group, index, m, ofSites }: BoundOf): string => `${group},${index},${m},${ofSites}`;

/** How far a bound moves, relative to itself. */
const effort = ({ from, to }: BoundChange): number => Math.abs(to - from) / Math.max(1e-3, Math.abs(from));

const total = ({ changes }: Repair): number => changes.reduce((sum, change) => sum + effort(change), 0);

/** Whether `a` moves no bound further than `b` does. */
export function dominates(a: Repair, b: Repair): boolean {
  const moves = new Map(b.changes.map((change) => [nameOf(change), effort(change)]));
  return a.changes.every((change) => effort(change) <= (moves.get(nameOf(change)) ?? 0) * (1 + ROUNDING) + 1e-9);
}

/** The joint ones that neither a single group's repair nor a smaller joint one dominates, the smallest first. */
function pareto(singles: readonly Repair[], found: readonly Repair[]): Repair[] {
  const kept: Repair[] = [];
  for (const repair of found.toSorted((a, b) => total(a) - total(b))) {
    const others = [...singles, ...kept];
    if (!others.some((other) => dominates(other, repair) || dominates(repair, other))) kept.push(repair);
  }
  return kept;
}
