import { arcIndexOf } from './arc-index.js';
import { countOf, pairKey, type Placement } from './placement.js';
import type { PlacementProblem } from './problem.js';

/** What makes a plan meaningless before any bound is asked: indices, counts that are not whole, entries given twice. */
export function formFaults(problem: PlacementProblem, plan: Placement): string[] {
  return [
    ...placementFaults(problem, plan.placement),
    ...powerFaults(problem, plan.poweredOn),
    ...modeFaults(problem, plan),
    ...routingFaults(problem, plan.routing),
  ];
}

const isCount = (value: number): boolean => Number.isInteger(value) && value >= 0;

/** Whether a key comes for the first time. */
function onlyOnce(): (key: number) => boolean {
  const seen = new Set<number>();
  return (key) => seen.size < seen.add(key).size;
}

function placementFaults(problem: PlacementProblem, placement: Placement['placement']): string[] {
  const isFirst = onlyOnce();
  return placement.flatMap(([d, v, copies]) => {
    const faults: string[] = [];
    if (problem.devices[d] === undefined || problem.variants[v] === undefined) faults.push('unknown');
    else if (!isFirst(pairKey(problem, d, v))) faults.push('is given twice');
    if (!isCount(copies)) faults.push(`${copies} is not a count`);
    return faults.map((fault) => `placement of variant ${v} on device ${d}: ${fault}`);
  });
}

function powerFaults(problem: PlacementProblem, poweredOn: Placement['poweredOn']): string[] {
  const isFirst = onlyOnce();
  return poweredOn.flatMap(([d, on]) => {
    const faults: string[] = [];
    if (problem.devices[d] === undefined) faults.push('unknown');
    else if (!isFirst(d)) faults.push('is given twice');
    if (!isCount(on)) faults.push(`${on} is not a count`);
    if (on > countOf(problem, d)) faults.push(`${on} of ${countOf(problem, d)} are on`);
    return faults.map((fault) => `power of device ${d}: ${fault}`);
  });
}

/** Every device that has modes is in exactly one while it is on. */
function modeFaults(problem: PlacementProblem, { poweredOn, modes = [] }: Placement): string[] {
  const isFirst = onlyOnce();
  const most = problem.devices.reduce((sofar, device) => Math.max(sofar, device.modes?.length ?? 1), 1);
  const inModes = new Map<number, number>();
  const faults = modes.flatMap(([d, m, on]) => {
    inModes.set(d, (inModes.get(d) ?? 0) + on);
    const found: string[] = [];
    if (problem.devices[d]?.modes?.[m] === undefined) found.push('unknown');
    else if (!isFirst(d * most + m)) found.push('is given twice');
    if (!isCount(on)) found.push(`${on} is not a count`);
    return found.map((fault) => `mode ${m} of device ${d}: ${fault}`);
  });
  const on = new Map(poweredOn);
  problem.devices.forEach((device, d) => {
    if (device.modes === undefined || (on.get(d) ?? 0) === (inModes.get(d) ?? 0)) return;
    faults.push(`modes of device ${d}: ${inModes.get(d) ?? 0} for ${on.get(d) ?? 0} that are on`);
  });
  return faults;
}

function routingFaults(problem: PlacementProblem, routing: Placement['routing']): string[] {
  const arcs = arcIndexOf(problem);
  const isFirst = onlyOnce();
  const most = problem.devices.reduce((sofar, device) => Math.max(sofar, device.modes?.length ?? 1), 1);
  return routing.flatMap(({ k, d, v, m = 0, rate }) => {
    const faults: string[] = [];
    const key = (pairKey(problem, d, v) * problem.classes.length + k) * most + m;
    if (arcs.find(d, v, k, m) === undefined) faults.push('not allowed');
    else if (!isFirst(key)) faults.push('is given twice');
    if (!(rate >= 0) || rate === Infinity) faults.push(`${rate} is not a rate`);
    return faults.map((fault) => `routing of class ${k} to variant ${v} on device ${d}: ${fault}`);
  });
}
