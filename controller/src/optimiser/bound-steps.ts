/**
 * Bounds of a plan that are worth a price, and the steps at which they are tried.
 */
import { boundValue, UNITS, WHOLE } from './bound-change.js';
import { isFloor } from './constraints.js';
import type { BoundOf } from './exact-parts.js';
import { isBinding } from './explain.js';
import type { ConstraintGroup, ConstraintUse, PlacementPlan } from './plan.js';
import type { PlacementProblem } from './problem.js';

/** Shares of a bound by which it is loosened, ascending. */
const LOOSER = [0.01, 0.03, 0.1, 0.3, 1];
const TIGHTER = [0.01, 0.1];
const WHOLE_LOOSER = [1, 2, 4];
const WHOLE_TIGHTER = [1];

/** Sizes of the steps in the unit of the bound, ascending. A bound of 0 is tried in shares of one unit. */
export function stepSizes(group: ConstraintGroup, from: number, direction: 'looser' | 'tighter'): number[] {
  const isLooser = direction === 'looser';
  const whole = isLooser ? WHOLE_LOOSER : WHOLE_TIGHTER;
  const shares = isLooser ? LOOSER : TIGHTER;
  const sizes = WHOLE.has(group) ? whole : shares.map((share) => share * (from === 0 ? 1 : from));
  const goesDown = isFloor(group) === isLooser;
  return sizes.filter((size) => !goesDown || size <= from * (1 + 1e-9));
}

/** A bound moved by `size` in the direction that helps (above 0) or hurts (below 0), within what makes sense for it. */
export function moved(group: ConstraintGroup, from: number, size: number): number {
  const to = Math.max(0, isFloor(group) ? from - size : from + size);
  const value = group === 'demand' ? Math.min(1, to) : to;
  return Number(value.toPrecision(12));
}

/** What a person asks about first. `util` is physics; a bound on the 95th percentile is a filter, not a quantity used. */
const ORDER: readonly ConstraintGroup[] = [
  'power',
  'latency',
  'energy',
  'variants',
  'sitepower',
  'move',
  'network',
  'battery',
  'devpower',
  'memory',
  'demand',
  'replicas',
  'slots',
];

/** Used up by what comes whole, devices and copies: the room left may be too little for the next one. */
const LUMPY: ReadonlySet<ConstraintGroup> = new Set(['power', 'sitepower', 'memory', 'move']);
/** Of such a bound so much may be left. */
const LUMP_SHARE = 0.1;

const mayBind = (use: ConstraintUse): boolean =>
  isBinding(use) || (LUMPY.has(use.group) && use.limit - use.used <= LUMP_SHARE * use.limit);

/** The bounds that may bind in a plan and can be given more of, the most asked-for first. O(uses). */
export function bindingBounds(
  problem: PlacementProblem,
  plan: Pick<PlacementPlan, 'modes'>,
  uses: readonly ConstraintUse[],
): BoundOf[] {
  const index = indexOf(problem, plan);
  const bounds = uses.flatMap((use) => (mayBind(use) && ORDER.includes(use.group) ? index(use) : []));
  // Floors of nothing are no bounds.
  const real = bounds.filter((bound) => !isFloor(bound.group) || boundValue(problem, bound) > 0);
  return real.toSorted((a, b) => ORDER.indexOf(a.group) - ORDER.indexOf(b.group));
}

function indexOf(problem: PlacementProblem, plan: Pick<PlacementPlan, 'modes'>): (use: ConstraintUse) => BoundOf[] {
  const places = (entries: readonly { readonly id: string }[]) => new Map(entries.map(({ id }, i) => [id, i]));
  const [classes, devices, sites] = [places(problem.classes), places(problem.devices), places(problem.sites ?? [])];
  return ({ group, subject, unit }) => {
    if (subject === '') return [{ group, index: undefined }];
    const isOfSite = group === 'sitepower' || group === 'network';
    const found = (isOfSite ? sites : isOfClass(group) ? classes : devices).get(subject);
    if (found === undefined) return [];
    if (group === 'replicas') {
      return [{ group, index: found, ...(unit === UNITS.replicas ? {} : { ofSites: true as const }) }];
    }
    if (group !== 'devpower' || problem.devices[found]?.modes === undefined) return [{ group, index: found }];
    const modes = (plan.modes ?? []).filter(([d, , on]) => d === found && on > 0);
    return modes.map(([, m]) => ({ group, index: found, m }));
  };
}

const isOfClass = (group: ConstraintGroup): boolean =>
  group === 'latency' || group === 'energy' || group === 'demand' || group === 'replicas';
