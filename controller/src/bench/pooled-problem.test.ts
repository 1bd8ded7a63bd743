import { describe, expect, it } from 'vitest';

import { fleetProblem } from './fleet-instances.js';
import { pooledProblem } from './pooled-problem.js';

const pools = fleetProblem({
  devices: 40,
  variants: 12,
  classes: 10,
  kappa: 4,
  seed: 3,
  jitter: 'none',
  modes: false,
  sites: 0,
});
/** Every device as an entry of its own, arcs repeated and turned round. */
const singles = (() => {
  const devices = pools.devices.flatMap(({ count = 1, ...device }) =>
    Array.from({ length: count }, (_, i) => ({ ...device, id: `${device.id}/${i}` })),
  );
  const first = new Map<number, number>();
  let next = 0;
  for (const [d, { count = 1 }] of pools.devices.entries()) {
    first.set(d, next);
    next += count;
  }
  const arcs = pools.arcs.flatMap((arc) =>
    Array.from({ length: pools.devices[arc.d]?.count ?? 1 }, (_, i) => ({ ...arc, d: (first.get(arc.d) ?? 0) + i })),
  );
  return { ...pools, devices, arcs: arcs.toReversed() };
})();

describe('pooledProblem', () => {
  it('puts identical devices together, whatever the order of their arcs', () => {
    const { devices, arcs } = pooledProblem(singles);
    // Boards without a single arc differ by nothing but their name, where their distance is all that would.
    expect(devices.length).toBeLessThanOrEqual(pools.devices.length);
    expect(arcs).toHaveLength(pools.arcs.length);
    expect(devices.reduce((total, { count = 1 }) => total + count, 0)).toBe(40);
    expect(pooledProblem(pools).devices.length).toBe(devices.length);
  });

  it('keeps apart what differs in one figure, and what hosts something', () => {
    const odd = singles.devices.findIndex(({ id }) => id === 'orinnano8-0/1');
    const arcs = singles.arcs.map((arc) => (arc.d === odd ? { ...arc, quality: arc.quality / 2 } : arc));
    expect(pooledProblem({ ...singles, arcs }).devices.length).toBe(pooledProblem(singles).devices.length + 1);
    const hosting = { ...singles, current: [[0, 0]] as [number, number][] };
    expect(pooledProblem(hosting)).toBe(hosting);
  });
});
