/**
 * A fractional point of the exact model as a placement: in a large fleet a few devices more or less cost little.
 */
import type { ExactModel } from './exact-model.js';
import { countOf, type Placement } from './placement.js';
import type { PlacementProblem } from './problem.js';
import { loadsOf } from './spread.js';

/** Shares of a device below this are rounding of the simplex. */
const NOISE = 1e-6;

/**
 * Copies for all the work that the point routes, rounded up, and devices to hold them; where a pool has no more devices,
 * the copies with the least work on them are left out. The routing is the point's and may ask a little too much.
 */
export function roundedPlacement(problem: PlacementProblem, model: ExactModel, point: Float64Array): Placement {
  const loads = loadsOf(problem, { routing: model.read(point).routing });
  const placement: [number, number, number][] = [];
  const poweredOn: [number, number][] = [];
  const modes: [number, number, number][] = [];
  problem.devices.forEach((device, u) => {
    const work = new Map<number, number>();
    for (const ofMode of loads.get(u)?.values() ?? []) {
      for (const [v, load] of ofMode) work.set(v, (work.get(v) ?? 0) + load);
    }
    const inMode = (model.powered[u] ?? []).map((column) => Math.ceil((point[column] ?? 0) - NOISE));
    const copies = [...work].map(([v, load]) => ({ v, load, count: Math.ceil(load - NOISE) }));
    const on = fit(problem, u, copies, inMode);
    if (on === 0) return;
    poweredOn.push([u, on]);
    for (const { v, count } of copies) if (count > 0) placement.push([u, v, count]);
    if (device.modes !== undefined) inMode.forEach((count, m) => count > 0 && modes.push([u, m, count]));
  });
  const hosting = { placement, poweredOn, routing: model.read(point).routing };
  return problem.devices.some((device) => device.modes !== undefined) ? { ...hosting, modes } : hosting;
}

/** Devices that hold the copies; lowers counts that no number of devices holds, and fills `inMode` up to the devices. */
function fit(
  problem: PlacementProblem,
  u: number,
  copies: { readonly v: number; readonly load: number; count: number }[],
  inMode: number[],
): number {
  const device = problem.devices[u];
  if (device === undefined) return 0;
  const memory = ({ v, count }: { v: number; count: number }) => (problem.variants[v]?.memGiB ?? 0) * count;
  const needed = () => {
    const slots = copies.reduce((sum, { count }) => sum + count, 0) / Math.max(1, device.slots);
    const room = copies.reduce((sum, copy) => sum + memory(copy), 0) / Math.max(1e-9, device.memGiB);
    return Math.ceil(Math.max(slots, room) - NOISE);
  };
  const most = countOf(problem, u);
  const worthOf = ({ load, count }: { load: number; count: number }) => load - (count - 1);
  while (needed() > most) {
    const [least] = copies.filter(({ count }) => count > 0).sort((a, b) => worthOf(a) - worthOf(b));
    if (least === undefined) break;
    least.count--;
  }
  while (inMode.reduce((sum, count) => sum + count, 0) > most) {
    const fullest = inMode.indexOf(Math.max(...inMode));
    inMode[fullest] = (inMode[fullest] ?? 0) - 1;
  }
  const total = inMode.reduce((sum, count) => sum + count, 0);
  const on = Math.min(most, Math.max(needed(), total));
  const largest = inMode.indexOf(Math.max(...inMode));
  inMode[largest] = (inMode[largest] ?? 0) + on - total;
  return on;
}
