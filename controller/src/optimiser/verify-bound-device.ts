/** What devices gain at given prices: the inner part of the bound's recomputation (`verify-bound.ts`). */
import type { BoundColumns } from './bound-columns.js';
import { DeviceGains, type Pricing } from './device-gains.js';
import type { PlacementProblem } from './problem.js';

/** Sum of what being on, copies, loading and hosting gain on all devices; -Infinity where the part asks for copies that it bars. */
export function devicesGain(columns: BoundColumns, pricing: Pricing): number {
  const { problem } = columns;
  const { barred, domain, listed, table } = pricing;
  const V = problem.variants.length;
  const [hasCatalogue, hasMoves] = [problem.budgets.maxVariants !== null, moves(problem)];
  if (hasCatalogue) {
    const width = problem.classes.length;
    table.at('strong').forEach((price, i) => {
      const v = Math.floor(i / width);
      listed[v] = (listed[v] ?? 0) + price;
    });
  }
  /** Devices of a pool share the range of a decision that was branched on. */
  const shared = new Map<string, { readonly gain: number; readonly count: number }[]>();
  let total = 0;
  const take = (key: string, gain: number, count: number) => {
    if (!domain.has(key)) total += Math.max(0, gain) * count;
    else shared.set(key, [...(shared.get(key) ?? []), { gain, count }]);
  };
  const gains = new DeviceGains(columns);
  const K = problem.classes.length;
  const siteHosts = new Uint8Array((problem.sites?.length ?? 0) * K);
  for (const [d, device] of problem.devices.entries()) {
    const u = columns.pools[d] ?? 0;
    const count = device.count ?? 1;
    gains.read(pricing, device, d);
    if (device.site !== undefined) for (let k = 0; k < K; k++) siteHosts[device.site * K + k] ||= gains.fits[k] ?? 0;
    total += count * ((table.at('modes')[u] ?? 0) + gains.hosting);
    for (let m = 0; m < (device.modes?.length ?? 1); m++) take(`a${u},${m}`, gains.on[m] ?? 0, count);
    for (let v = 0; v < V; v++) {
      if (gains.hosts[v] === 0) continue;
      const pair = u * V + v;
      const load = hasMoves ? (table.at('load')[pair] ?? 0) : 0;
      const key = `x${u},${v}`;
      if (barred[v] === 0) take(key, (gains.copies[v] ?? 0) - load, count);
      else if ((domain.get(key)?.[0] ?? 0) >= 1) return -Infinity;
      if (hasCatalogue) listed[v] = (listed[v] ?? 0) + count * (table.at('link')[pair] ?? 0);
      if (!hasMoves) continue;
      const paid = (problem.variants[v]?.memGiB ?? 0) * movePrice(problem, pricing);
      total += count * Math.max(0, load - paid) + load * (columns.held.get(d * V + v) ?? 0);
    }
  }
  siteHosts.forEach((hosts, sk) => {
    if (hosts === 0 || (problem.classes[sk % K]?.minSites ?? 0) === 0) return;
    total += Math.max(0, (table.at('sites')[sk % K] ?? 0) - (table.at('site-host')[sk] ?? 0));
  });
  for (const [key, list] of shared) total += rangeGain(list, domain.get(key) ?? [0, Infinity]);
  return total;
}

const moves = ({ budgets, movePenaltyPerGiB }: PlacementProblem): boolean =>
  budgets.moveGiB !== null || movePenaltyPerGiB > 0;

const movePrice = ({ budgets, movePenaltyPerGiB }: PlacementProblem, { table, scale }: Pricing): number =>
  (budgets.moveGiB === null ? 0 : (table.at('move')[0] ?? 0)) + scale * movePenaltyPerGiB;

/** The most that a number of units within the range can gain, each unit taken from those that gain most. */
function rangeGain(
  list: readonly { readonly gain: number; readonly count: number }[],
  [low, high]: readonly [number, number],
): number {
  let [total, taken] = [0, 0];
  for (const { gain, count } of list.toSorted((a, b) => b.gain - a.gain)) {
    const most = gain > 0 ? high : low;
    const units = Math.max(0, Math.min(count, most - taken));
    total += units * gain;
    taken += units;
  }
  return taken < low ? -Infinity : total;
}
