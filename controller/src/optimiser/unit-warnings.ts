/**
 * Values that look as if they were given in another unit: a factor of a thousand away from what such a figure can be.
 *
 * Nothing here is an error. The limits are far from any real fleet: 2 TiB of memory, 10 min for an answer, 5 kW for a
 * device. Likeness is not expanded: a device that is like another can not mix up what it does not state.
 */
import { boundUnitWarnings } from './bound-unit-warnings.js';
import { arcFigures, type Figure, median, shown, warning } from './odd-figures.js';
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
    ...boundUnitWarnings(problem),
  ];
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
  const least = variants.reduce((sofar, { memGiB }) => (memGiB > 0 ? Math.min(sofar, memGiB) : sofar), Infinity);
  const room = devices.map(({ memGiB }, d) => ({ path: `devices.${d}.memGiB`, value: memGiB }));
  // Not even the smallest variant fits anywhere, by far.
  const isTight = ({ value }: Figure, by = 4) => value > 0 && value * by < least && least < MOST_GIB / 10;
  const small = `GiB, against ${shown(least)} GiB of the smallest variant`;
  return [
    ...warning(room.every((each) => isTight(each)) ? room : [], small, () => 'TiB, not GiB'),
    // A small budget may be a way to say that nothing is to move.
    ...warning(isTight(move, 100) ? [move] : [], small, () => 'TiB, not GiB'),
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
/** Of most arcs: a rack of accelerators draws less, a microcontroller more. */
const MOST_USUAL_W = 1000;
const LEAST_USUAL_W = 0.03;

function energyWarnings({ arcs }: PlacementProblem): string[] {
  const implied = (arc: ProblemArc) => arc.energy_J / arc.service_s;
  const usual = median(arcs, implied);
  const most = usual > MOST_USUAL_W ? MOST_USUAL_W : MOST_W;
  const least = usual < LEAST_USUAL_W ? LEAST_USUAL_W : LEAST_W;
  const figures = arcFigures(
    arcs,
    'energy_J / service_s',
    implied,
    (value) => value > most || (value > 0 && value < least),
  );
  return warning(figures, 'W', (value) =>
    value > most ? 'energy_J in millijoules' : 'energy_J in kilojoules, or service_s in milliseconds',
  );
}

const MOST_IDLE_W = 2000;
/** Of all devices: a phone in standby draws more. */
const LEAST_IDLE_W = 0.02;

function powerWarnings(problem: PlacementProblem): string[] {
  const idle = problem.devices.flatMap((device, d) =>
    modesOf(device).map(({ idleW }, m) => ({
      path: device.modes === undefined ? `devices.${d}.idleW` : `devices.${d}.modes.${m}.idleW`,
      value: idleW,
    })),
  );
  const isTiny = idle.every(({ value }) => value < LEAST_IDLE_W);
  return [
    ...warning(
      idle.filter(({ value }) => value > MOST_IDLE_W),
      'W',
      () => 'milliwatts, not watts',
    ),
    ...warning(
      idle.filter(({ value }) => isTiny && value > 0),
      'W',
      () => 'kilowatts, not watts',
    ),
    ...capWarnings(problem),
    ...powerBudgetWarnings(problem),
    ...batteryWarnings(problem),
  ];
}

/** A cap far below the idle of its device keeps it off for good. */
function capWarnings({ devices }: PlacementProblem): string[] {
  const caps = devices.flatMap((device, d) =>
    modesOf(device).map(({ idleW, powerCapW }, m) => ({
      path: device.modes === undefined ? `devices.${d}.powerCapW` : `devices.${d}.modes.${m}.powerCapW`,
      value: powerCapW ?? 0,
      idleW,
    })),
  );
  const isLow = ({ value, idleW }: { value: number; idleW: number }) => value > 0 && value < idleW / 20;
  return [
    ...warning(caps.filter(isLow), 'W, far below the idle of the device', () => 'kilowatts, not watts'),
    // From 1 MW on it says that there is none.
    ...warning(
      caps.filter(({ value }) => value > MOST_W && value < 1e6),
      'W',
      () => 'milliwatts, not watts',
    ),
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

/** Demand, on the quickest devices alone, over what all devices can do. */
const MOST_OVERLOAD = 20;

function demandWarnings({ classes, devices, sites = [], arcs }: PlacementProblem): string[] {
  const capacity = devices.reduce((total, { count = 1, maxUtil }) => total + count * maxUtil, 0);
  const quickest = new Float64Array(classes.length).fill(Infinity);
  for (const { k, service_s } of arcs) quickest[k] = Math.min(quickest[k] ?? Infinity, service_s);
  const needed = classes.map(({ rate }, k) => (Number.isFinite(quickest[k]) ? rate * (quickest[k] ?? 0) : 0));
  const isFar = capacity > 0 && needed.reduce((sum, each) => sum + each, 0) > MOST_OVERLOAD * capacity;
  const rates = classes.flatMap(({ rate }, k) => {
    const isHuge = rate > 1e6 || (isFar && (needed[k] ?? 0) > capacity);
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
    ...warning(rates, 'requests/s', (value) =>
      value < 1 ? 'requests per millisecond' : 'requests per minute, hour or day',
    ),
    ...warning(quality, 'of at most 1', (value) => (value > 150 ? 'thousandths' : 'percent') + ', not a share'),
    ...warning(uplinks, 'bit/s', () => 'Mbit/s, not bit/s'),
  ];
}
