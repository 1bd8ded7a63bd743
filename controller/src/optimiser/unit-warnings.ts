/**
 * Values that look as if they were given in another unit: a factor of a thousand away from what such a figure can be.
 *
 * Nothing here is an error. The limits are far from any real fleet: 2 TiB of memory, 10 min for an answer, 5 kW for a
 * device. Likeness is not expanded: a device that is like another can not mix up what it does not state.
 */
import { modesOf } from './placement.js';
import type { PlacementProblem, ProblemArc } from './problem.js';

/** One sentence for each kind of oddity: where it is first, how often, the value, and the unit that was probably meant. */
export function unitWarnings(problem: PlacementProblem): string[] {
  return [
    ...memoryWarnings(problem),
    ...timeWarnings(problem),
    ...energyWarnings(problem),
    ...powerWarnings(problem),
    ...demandWarnings(problem),
    ...boundWarnings(problem),
  ];
}

interface Figure {
  readonly path: string;
  readonly value: number;
}

const shown = (value: number): string => String(Number(value.toPrecision(4)));

/** The sentence on the figures that are odd; none where there are none. */
function warning(figures: Iterable<Figure>, unit: string, meant: (value: number) => string): string[] {
  const [first, ...more] = figures;
  if (first === undefined) return [];
  const others = more.length === 0 ? '' : ` (and ${more.length} more)`;
  return [`${first.path} is ${shown(first.value)} ${unit}${others}: probably ${meant(first.value)}.`];
}

const MOST_GIB = 2048;
const memoryUnit = (value: number): string =>
  value > 1e8 ? 'bytes, not GiB' : value > 2048 * MOST_GIB ? 'KiB, not GiB' : 'MiB, not GiB';

function memoryWarnings({ variants, devices, budgets }: PlacementProblem): string[] {
  const figures = (path: string, entries: readonly { readonly memGiB: number }[]) =>
    entries
      .map(({ memGiB }, i) => ({ path: `${path}.${i}.memGiB`, value: memGiB }))
      .filter(({ value }) => value > MOST_GIB);
  const move = { path: 'budgets.moveGiB', value: budgets.moveGiB ?? 0 };
  return [
    ...warning(figures('variants', variants), 'GiB', memoryUnit),
    ...warning(figures('devices', devices), 'GiB', memoryUnit),
    // Whole fleets move more than one device holds.
    ...warning(
      [move].filter(({ value }) => value > 1e6),
      'GiB',
      memoryUnit,
    ),
  ];
}

/** Median of a figure over arcs; NaN without arcs. O(arcs log arcs). */
function median(arcs: readonly ProblemArc[], value: (arc: ProblemArc) => number): number {
  return Float64Array.from(arcs, value).sort()[arcs.length >> 1] ?? NaN;
}

function arcFigures(
  arcs: readonly ProblemArc[],
  name: string,
  value: (arc: ProblemArc) => number,
  isOdd: (value: number) => boolean,
): Figure[] {
  return arcs.flatMap((arc, i) => (isOdd(value(arc)) ? [{ path: `arcs.${i}.${name}`, value: value(arc) }] : []));
}

const MOST_SERVICE_S = 600;

function timeWarnings({ arcs }: PlacementProblem): string[] {
  const service = (arc: ProblemArc) => arc.service_s;
  const relative = (arc: ProblemArc) => arc.latency_s / arc.service_s;
  const warnings: string[] = [];
  if (median(arcs, service) > MOST_SERVICE_S) {
    const figures = arcFigures(arcs, 'service_s', service, (value) => value > MOST_SERVICE_S);
    warnings.push(...warning(figures, 's', () => 'milliseconds, not seconds'));
  }
  const quick = arcFigures(arcs, 'latency_s', relative, (value) => value < 0.01);
  warnings.push(...warning(quick, 'of service_s', () => 'service_s in milliseconds, or latency_s without the service'));
  if (median(arcs, relative) > 1000) {
    const slow = arcFigures(arcs, 'latency_s', relative, (value) => value > 1000);
    warnings.push(...warning(slow, 'times service_s', () => 'latency_s in milliseconds'));
  }
  return warnings;
}

const MOST_W = 5000;
const LEAST_W = 1e-3;

function energyWarnings({ arcs }: PlacementProblem): string[] {
  const implied = (arc: ProblemArc) => arc.energy_J / arc.service_s;
  const isOdd = (value: number) => value > MOST_W || (value > 0 && value < LEAST_W);
  const figures = arcFigures(arcs, 'energy_J / service_s', implied, isOdd);
  return warning(figures, 'W', (value) =>
    value > MOST_W ? 'energy_J in millijoules' : 'energy_J in kilojoules, or service_s in milliseconds',
  );
}

const MOST_IDLE_W = 2000;

function powerWarnings(problem: PlacementProblem): string[] {
  const idle = problem.devices.flatMap((device, d) =>
    modesOf(device).map(({ idleW }, m) => ({
      path: device.modes === undefined ? `devices.${d}.idleW` : `devices.${d}.modes.${m}.idleW`,
      value: idleW,
    })),
  );
  return [
    ...warning(
      idle.filter(({ value }) => value > MOST_IDLE_W),
      'W',
      () => 'milliwatts, not watts',
    ),
    ...powerBudgetWarnings(problem),
    ...batteryWarnings(problem),
  ];
}

/** Budgets below the idle of the most frugal device switch everything off; far above all that can be drawn they say nothing. */
function powerBudgetWarnings({ devices, classes, arcs, sites = [], budgets }: PlacementProblem): string[] {
  const least = devices.map((device) => Math.min(...modesOf(device).map(({ idleW }) => idleW)));
  const worst = new Float64Array(classes.length);
  for (const { k, energy_J } of arcs) worst[k] = Math.max(worst[k] ?? 0, energy_J);
  const idle = devices.reduce((total, { count = 1 }, d) => total + (least[d] ?? 0) * count, 0);
  const full = classes.reduce((total, { rate }, k) => total + rate * (worst[k] ?? 0), idle);
  const frugal = least.reduce((sofar, value) => Math.min(sofar, value), Infinity);
  const isSmall = (value: number) => value > 0 && value < frugal && idle > 0;
  // Below 10 kW a budget may be large only because there is no bound; above 30,000 times it surely is.
  const isLarge = (value: number) => value >= 10_000 && value > 300 * full && value < 30_000 * full;
  const figures = [
    { path: 'budgets.powerW', value: budgets.powerW },
    ...sites.map(({ powerW }, s) => ({ path: `sites.${s}.powerW`, value: powerW ?? 0 })),
  ].filter(({ value }) => isSmall(value) || isLarge(value));
  const meant = (value: number) => (isSmall(value) ? 'kilowatts, not watts' : 'milliwatts, not watts');
  return warning(figures, `W against ${shown(idle)} W of idling`, meant);
}

function batteryWarnings({ devices, budgets }: PlacementProblem): string[] {
  const horizon = budgets.horizon_s ?? Infinity;
  const figures = devices.flatMap(({ battery_J, idleW }, d) => {
    const value = battery_J ?? 0;
    // A battery of one watt-hour has 3,600 J: taken for joules it lasts a thousandth of the idle.
    return value > 0 && value / horizon < idleW / 1000 ? [{ path: `devices.${d}.battery_J`, value }] : [];
  });
  return warning(figures, `J for ${shown(horizon)} s`, () => 'watt-hours or kilojoules, not joules');
}

function demandWarnings({ classes, devices, sites = [], arcs }: PlacementProblem): string[] {
  const capacity = devices.reduce((total, { count = 1, maxUtil }) => total + count * maxUtil, 0);
  const quickest = new Float64Array(classes.length).fill(Infinity);
  for (const { k, service_s } of arcs) quickest[k] = Math.min(quickest[k] ?? Infinity, service_s);
  const rates = classes.flatMap(({ rate }, k) => {
    const needed = rate * (quickest[k] ?? Infinity);
    const isHuge = rate > 1e6 || (Number.isFinite(needed) && needed > 1000 * capacity && capacity > 0);
    return isHuge || (rate > 0 && rate < 1e-8) ? [{ path: `classes.${k}.rate`, value: rate }] : [];
  });
  const quality = arcFigures(
    arcs,
    'quality',
    (arc) => arc.quality,
    (value) => value > 1.5,
  );
  const isSent = classes.some(({ requestBits = 0, rate }) => requestBits > 0 && rate > 0);
  const uplinks = sites
    .map(({ networkBps }, s) => ({ path: `sites.${s}.networkBps`, value: networkBps ?? 0 }))
    .filter(({ value }) => isSent && value > 0 && value < 1000);
  return [
    ...warning(rates, 'requests/s', (value) => (value < 1 ? 'requests per millisecond' : 'requests per hour or day')),
    ...warning(quality, 'of at most 1', () => 'percent, not a share'),
    ...warning(uplinks, 'bit/s', () => 'Mbit/s, not bit/s'),
  ];
}

/** Bounds of classes against the figures that they bound. */
function boundWarnings(problem: PlacementProblem): string[] {
  const bounds = [
    { name: 'sloMean_s', figure: 'latency_s', unit: 's', milli: 'milliseconds, not seconds' },
    { name: 'sloP95_s', figure: 'p95_s', unit: 's', milli: 'milliseconds, not seconds' },
    { name: 'maxEnergy_J', figure: 'energy_J', unit: 'J', milli: 'millijoules, not joules' },
  ] as const;
  return bounds.flatMap(({ name, figure, unit, milli }) => {
    const least = new Float64Array(problem.classes.length).fill(Infinity);
    const most = new Float64Array(problem.classes.length);
    for (const arc of problem.arcs) {
      const value = arc[figure] ?? 0;
      if (value === 0) continue;
      least[arc.k] = Math.min(least[arc.k] ?? Infinity, value);
      most[arc.k] = Math.max(most[arc.k] ?? 0, value);
    }
    const isLarge = (k: number, value: number) => (most[k] ?? 0) > 0 && value > 1000 * (most[k] ?? 0);
    const isSmall = (k: number, value: number) => value > 0 && value * 1000 < (least[k] ?? 0) && (most[k] ?? 0) > 0;
    const figures = (isOdd: (k: number, value: number) => boolean) =>
      problem.classes
        .map((each, k) => ({ k, path: `classes.${k}.${name}`, value: each[name] ?? 0 }))
        .filter(({ k, value }) => isOdd(k, value));
    return [
      ...warning(figures(isLarge), `${unit}, 1000 times every ${figure}`, () => milli),
      ...warning(
        figures(isSmall),
        `${unit}, a thousandth of every ${figure}`,
        () => `the ${figure} of its arcs in ${milli}`,
      ),
    ];
  });
}
