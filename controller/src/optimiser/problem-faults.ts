import { arcOrder, compareArcs } from './arc-index.js';
import type { PlacementProblem } from './problem.js';
import { shownValue } from './shown-value.js';

/** At most this many faults are listed: a broken generator repeats its mistake. */
const MOST_FAULTS = 8;

/**
 * What the schema cannot see: indices that do not exist, likeness that leads nowhere, numbers that are not finite,
 * duplicate arcs and ids. Empty when the problem is sound. O(arcs), for millions of them.
 */
export function problemFaults(problem: PlacementProblem): string[] {
  const faults = [
    ...unique('classes', problem.classes),
    ...unique('variants', problem.variants),
    ...unique('devices', problem.devices),
    ...unique('sites', problem.sites ?? []),
    ...infinite(problem),
    ...deviceFaults(problem),
    ...arcFaults(problem),
    ...currentFaults(problem),
  ];
  // The order of the arcs can only be found, and the likeness of a device only be followed, where all indices exist.
  if (faults.length === 0) faults.push(...duplicateArcs(problem), ...likeFaults(problem));
  return faults.slice(0, MOST_FAULTS);
}

function unique(path: string, entries: readonly { readonly id: string }[]): string[] {
  const seen = new Set<string>();
  return entries.flatMap(({ id }, i) =>
    seen.size < seen.add(id).size ? [] : [`${path}.${i}.id: ${shownValue(id)} is used twice`],
  );
}

function known(path: string, index: number, size: number, what: string): string[] {
  return Number.isInteger(index) && index >= 0 && index < size
    ? []
    : [`${path}: expected ${what}${size === 0 ? ', but there is none' : ` 0..${size - 1}`}, got ${index}`];
}

/** Numbers outside the arcs that are NaN or infinite: a document cannot hold them, a program can. */
function infinite({ classes, variants, devices, sites = [], budgets, movePenaltyPerGiB }: PlacementProblem): string[] {
  const faults: string[] = [];
  const check = (path: string, fields: object) => {
    for (const [name, value] of Object.entries(fields)) {
      if (typeof value === 'number' && !Number.isFinite(value)) {
        faults.push(`${path}${name}: expected a finite number, got ${value}`);
      }
    }
  };
  check('budgets.', budgets);
  check('', { movePenaltyPerGiB });
  classes.forEach((each, k) => check(`classes.${k}.`, each));
  variants.forEach((each, v) => check(`variants.${v}.`, each));
  sites.forEach((each, s) => check(`sites.${s}.`, each));
  devices.forEach((each, d) => {
    check(`devices.${d}.`, each);
    each.modes?.forEach((mode, m) => check(`devices.${d}.modes.${m}.`, mode));
    if (each.like !== undefined) check(`devices.${d}.like.`, each.like);
  });
  return faults;
}

function deviceFaults({ devices, sites, budgets }: PlacementProblem): string[] {
  return devices.flatMap((device, d) => {
    const faults: string[] = [];
    const { site, battery_J } = device;
    if (site !== undefined) faults.push(...known(`devices.${d}.site`, site, sites?.length ?? 0, 'a site'));
    if (device.modes !== undefined) faults.push(...unique(`devices.${d}.modes`, device.modes));
    if (device.like !== undefined) faults.push(...known(`devices.${d}.like.d`, device.like.d, d, 'an earlier device'));
    if (battery_J !== undefined && battery_J !== null && budgets.horizon_s === undefined) {
      faults.push(`devices.${d}.battery_J: needs budgets.horizon_s, the time that the battery has to last`);
    }
    return faults;
  });
}

function arcFaults({ arcs, devices, variants, classes }: PlacementProblem): string[] {
  const faults: string[] = [];
  for (let i = 0; i < arcs.length && faults.length < MOST_FAULTS; i++) {
    const arc = arcs[i];
    if (arc === undefined) continue;
    const { d, v, k, m = 0 } = arc;
    const modes = devices[d]?.modes?.length ?? 1;
    const isKnown = devices[d] !== undefined && variants[v] !== undefined && classes[k] !== undefined;
    const sum = arc.quality + arc.service_s + arc.energy_J + arc.latency_s + (arc.p95_s ?? 0);
    if (isKnown && m < modes && Number.isInteger(m) && m >= 0 && Number.isFinite(sum)) continue;
    faults.push(
      ...known(`arcs.${i}.d`, d, devices.length, 'a device'),
      ...known(`arcs.${i}.v`, v, variants.length, 'a variant'),
      ...known(`arcs.${i}.k`, k, classes.length, 'a class'),
      ...(devices[d] === undefined ? [] : known(`arcs.${i}.m`, m, modes, 'a mode')),
      ...(Number.isFinite(sum) ? [] : [`arcs.${i}: expected finite numbers`]),
    );
  }
  return faults;
}

function duplicateArcs(problem: PlacementProblem): string[] {
  const order = arcOrder(problem);
  const faults: string[] = [];
  for (let i = 1; i < order.length && faults.length < MOST_FAULTS; i++) {
    const [last, arc] = [problem.arcs[order[i - 1] ?? 0], problem.arcs[order[i] ?? 0]];
    if (last === undefined || arc === undefined || compareArcs(last, arc) !== 0) continue;
    const mode = arc.m === undefined ? '' : `, mode ${arc.m}`;
    faults.push(`arcs.${order[i]}: device ${arc.d}, variant ${arc.v}, class ${arc.k}${mode} is given twice`);
  }
  return faults;
}

/** A device that is like another has its arcs from there, in modes that it has itself. */
function likeFaults({ arcs, devices }: PlacementProblem): string[] {
  const given = new Uint32Array(devices.length);
  for (const { d } of arcs) given[d] = (given[d] ?? 0) + 1;
  return devices.flatMap(({ like, modes }, d) => {
    if (like === undefined) return [];
    const faults: string[] = [];
    const of = devices[like.d];
    if (of?.like !== undefined) faults.push(`devices.${d}.like.d: device ${like.d} is itself like another`);
    else if (given[like.d] === 0) faults.push(`devices.${d}.like.d: device ${like.d} has no arcs`);
    if ((given[d] ?? 0) > 0) faults.push(`devices.${d}: has arcs of its own and those of device ${like.d}`);
    if ((of?.modes?.length ?? 1) !== (modes?.length ?? 1)) {
      faults.push(`devices.${d}.modes: expected as many as device ${like.d} has, whose arcs it uses`);
    }
    return faults;
  });
}

function currentFaults({ current, devices, variants }: PlacementProblem): string[] {
  return current.flatMap(([d, v], i) => [
    ...known(`current.${i}.0`, d, devices.length, 'a device'),
    ...known(`current.${i}.1`, v, variants.length, 'a variant'),
  ]);
}
