/**
 * Bounds in words and units, and what it means to move one: shared by all repairs of infeasible problems.
 */
import { isFloor } from './constraints.js';
import type { BoundOf } from './exact-parts.js';
import type { ConstraintGroup, JointRepair, Relaxation } from './plan.js';
import type { PlacementProblem } from './problem.js';

/** One bound that moves. Bounds of devices are per device, also of pools. */
export interface BoundChange extends BoundOf {
  readonly from: number;
  readonly to: number;
}

export interface Repair {
  readonly changes: readonly BoundChange[];
}

export const UNITS: Readonly<Record<ConstraintGroup, string>> = {
  demand: 'served share',
  util: 'busy share',
  slots: 'slots',
  memory: 'GiB',
  latency: 's',
  tail: 's',
  energy: 'J',
  power: 'W',
  sitepower: 'W',
  devpower: 'W',
  battery: 'J',
  network: 'bit/s',
  replicas: 'replicas',
  variants: 'variants',
  move: 'GiB',
};

/** Bounds that count things. */
export const WHOLE: ReadonlySet<ConstraintGroup> = new Set(['slots', 'replicas', 'variants']);

/** The value of a bound as the problem states it; 0 where there is none. */
export function boundValue(problem: PlacementProblem, { group, index = -1, m, ofSites }: BoundOf): number {
  const [ofClass, device, site] = [problem.classes[index], problem.devices[index], problem.sites?.[index]];
  const cap = m === undefined ? device?.powerCapW : device?.modes?.[m]?.powerCapW;
  const bounds: Readonly<Record<ConstraintGroup, number | null | undefined>> = {
    demand: ofClass?.minServed,
    util: device?.maxUtil,
    slots: device?.slots,
    memory: device?.memGiB,
    latency: ofClass?.sloMean_s,
    tail: ofClass?.sloP95_s,
    energy: ofClass?.maxEnergy_J,
    power: problem.budgets.powerW,
    sitepower: site?.powerW,
    devpower: cap,
    battery: device?.battery_J,
    network: site?.networkBps,
    replicas: ofSites === true ? ofClass?.minSites : ofClass?.minReplicas,
    variants: problem.budgets.maxVariants,
    move: problem.budgets.moveGiB,
  };
  return bounds[group] ?? 0;
}

/** A bound moved by `size`, in a figure that a person can type: four digits, rounded to the safe side. */
export function widened(group: ConstraintGroup, from: number, size: number): number {
  const exact = isFloor(group) ? Math.max(0, from - size) : from + size;
  if (WHOLE.has(group)) return isFloor(group) ? Math.floor(exact + 1e-6) : Math.ceil(exact - 1e-6);
  const step = 10 ** (Math.floor(Math.log10(Math.max(1e-9, Math.abs(exact)))) - 3);
  const rounded = isFloor(group) ? Math.floor(exact / step - 1e-6) * step : Math.ceil(exact / step + 1e-6) * step;
  return Number(Math.max(0, rounded).toPrecision(6));
}

/** The problem with the bounds of a repair moved: it is feasible. */
export function applyRepair(problem: PlacementProblem, { changes }: Repair): PlacementProblem {
  const name = ({ group, index, m, ofSites }: BoundOf) => `${group},${index},${m},${ofSites}`;
  const moved = new Map(changes.map((change) => [name(change), change.to]));
  const to = (group: ConstraintGroup, index?: number, part: Partial<BoundOf> = {}) =>
    moved.get(name({ group, index, ...part }));
  /** The field, where its bound moves: a field that the problem leaves out stays out. */
  const set = <F extends string>(field: F, value: number | undefined) =>
    (value === undefined ? {} : { [field]: value }) as Partial<Record<F, number>>;
  return {
    ...problem,
    classes: problem.classes.map((each, k) => ({
      ...each,
      ...set('minServed', to('demand', k)),
      ...set('sloMean_s', to('latency', k)),
      ...set('sloP95_s', to('tail', k)),
      ...set('maxEnergy_J', to('energy', k)),
      ...set('minReplicas', to('replicas', k)),
      ...set('minSites', to('replicas', k, { ofSites: true })),
    })),
    devices: problem.devices.map((device, d) => ({
      ...device,
      ...set('memGiB', to('memory', d)),
      ...set('slots', to('slots', d)),
      ...set('powerCapW', to('devpower', d)),
      ...set('battery_J', to('battery', d)),
      ...(device.modes === undefined
        ? {}
        : { modes: device.modes.map((mode, m) => ({ ...mode, ...set('powerCapW', to('devpower', d, { m })) })) }),
    })),
    ...(problem.sites === undefined
      ? {}
      : {
          sites: problem.sites.map((site, s) => ({
            ...site,
            ...set('powerW', to('sitepower', s)),
            ...set('networkBps', to('network', s)),
          })),
        }),
    budgets: {
      ...problem.budgets,
      ...set('powerW', to('power')),
      ...set('maxVariants', to('variants')),
      ...set('moveGiB', to('move')),
    },
  };
}

/** A figure in sentences: four digits. */
export const shown = (value: number): string => String(Number(value.toPrecision(4)));

/** `power budget`, `mean latency of law` */
export function boundName(problem: PlacementProblem, bound: BoundOf): string {
  const index = bound.index ?? -1;
  const ofClass = problem.classes[index]?.id ?? '';
  const device = problem.devices[index]?.id ?? '';
  const site = problem.sites?.[index]?.id ?? '';
  const mode = bound.m === undefined ? '' : ` in mode ${problem.devices[index]?.modes?.[bound.m]?.id ?? ''}`;
  const names: Readonly<Record<ConstraintGroup, string>> = {
    demand: `served share of ${ofClass}`,
    util: `busy share of ${device}`,
    slots: `slots of ${device}`,
    memory: `memory of ${device}`,
    latency: `mean latency of ${ofClass}`,
    tail: `95th percentile of the latency of ${ofClass}`,
    energy: `energy per request of ${ofClass}`,
    power: 'power budget',
    sitepower: `power of ${site}`,
    devpower: `power cap of ${device}${mode}`,
    battery: `battery of ${device}`,
    network: `uplink of ${site}`,
    replicas: `${bound.ofSites === true ? 'sites' : 'replicas'} of ${ofClass}`,
    variants: 'catalogue size',
    move: 'move budget',
  };
  return names[bound.group];
}

/** Id of the class, device or site that a bound is of; empty for bounds of the fleet. */
export function subjectOf(problem: PlacementProblem, { group, index = -1 }: BoundOf): string {
  const { classes, devices, sites = [] } = problem;
  const isOfClass = ['demand', 'latency', 'tail', 'energy', 'replicas'].includes(group);
  const isOfSite = group === 'sitepower' || group === 'network';
  return (isOfClass ? classes : isOfSite ? sites : devices)[index]?.id ?? '';
}

/** A value of a bound with its unit: `14.3 W`; the name of a served share or of a count says its unit. */
export function boundFigure(group: ConstraintGroup, value: number): string {
  return group === 'demand' || WHOLE.has(group) ? shown(value) : `${shown(value)} ${UNITS[group]}`;
}

/** `power budget 12 W -> 14.3 W` */
export function changeText(problem: PlacementProblem, change: BoundChange): string {
  const { group, from, to } = change;
  return `${boundName(problem, change)} ${boundFigure(group, from)} -> ${boundFigure(group, to)}`;
}

export const totalMove = ({ changes }: Repair): number =>
  changes.reduce((sum, change) => sum + Math.abs(change.to - change.from), 0);

/** A repair of one group as the plan carries it. */
export function relaxationOf(problem: PlacementProblem, group: ConstraintGroup, repair: Repair): Relaxation {
  return {
    group,
    slack: Number(totalMove(repair).toPrecision(6)),
    unit: UNITS[group],
    text: repair.changes.map((change) => changeText(problem, change)).join(', '),
  };
}

/** A repair of several groups as the plan carries it. */
export function jointRepairOf(problem: PlacementProblem, { changes }: Repair): JointRepair {
  return {
    changes: changes.map(({ index = null, ...change }) => {
      return {
        ...change,
        index,
        unit: UNITS[change.group],
        text: changeText(problem, { ...change, index: index ?? undefined }),
      };
    }),
  };
}
