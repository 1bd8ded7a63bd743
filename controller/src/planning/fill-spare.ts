import { countOf, type Placement } from '../optimiser/placement.js';
import type { PlacementProblem } from '../optimiser/problem.js';
import { verifyPlacement } from '../optimiser/verify.js';

/**
 * Puts variants that the plan left out into memory and slots it left free on devices that are on anyway.
 *
 * The plan is made for prompt classes; single prompts differ, and a client may ask for an expert by name. A spare copy
 * draws no power and serves no planned demand. Variants with the best mean quality go first, to the device that holds
 * them already or has most slots free. Breaks no bound: each copy is kept only if the whole plan still verifies.
 */
export function fillSpare(problem: PlacementProblem, plan: Placement): Placement {
  const hosted = new Set(plan.placement.map(([, v]) => v));
  const held = new Set(problem.current.map(([d, v]) => `${d},${v}`));
  const hosts = new Map<number, Set<number>>();
  const quality = new Float64Array(problem.variants.length);
  for (const arc of problem.arcs) {
    hosts.set(arc.v, (hosts.get(arc.v) ?? new Set()).add(arc.d));
    quality[arc.v] = Math.max(quality[arc.v] ?? 0, arc.quality);
  }
  const spare = [...hosts.keys()]
    .filter((v) => !hosted.has(v))
    .sort((a, b) => (quality[b] ?? 0) - (quality[a] ?? 0) || a - b);
  const on = new Set(plan.poweredOn.map(([d]) => d).filter((d) => countOf(problem, d) === 1));
  let current = plan;
  for (const v of spare) {
    const used = (d: number) => current.placement.filter(([of]) => of === d).length;
    const free = (d: number) => (problem.devices[d]?.slots ?? 0) - used(d);
    const candidates = [...(hosts.get(v) ?? [])]
      .filter((d) => on.has(d) && free(d) > 0)
      .sort((a, b) => Number(held.has(`${b},${v}`)) - Number(held.has(`${a},${v}`)) || free(b) - free(a) || a - b);
    for (const d of candidates) {
      const placement = [...current.placement, [d, v, 1] as const].sort(([d1, v1], [d2, v2]) => d1 - d2 || v1 - v2);
      const candidate = { ...current, placement };
      if (!verifyPlacement(problem, candidate).ok) continue;
      current = candidate;
      break;
    }
  }
  return current;
}
