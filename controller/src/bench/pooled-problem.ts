import type { PlacementProblem, ProblemArc, ProblemDevice } from '../optimiser/problem.js';

/**
 * The same fleet with identical devices as one entry with a count: what a person would give a solver. Slots and memory
 * are then bounds on a pool's total, so that a solver's bound still holds and its plan is easier to find. A problem with
 * devices that host something already, or that are given by likeness, is left as it is. O(arcs).
 */
export function pooledProblem(problem: PlacementProblem): PlacementProblem {
  if (problem.current.length > 0 || problem.devices.some(({ like }) => like !== undefined)) return problem;
  const arcsOf = problem.devices.map((): ProblemArc[] => []);
  for (const arc of problem.arcs) arcsOf[arc.d]?.push(arc);
  const devices: ProblemDevice[] = [];
  const arcs: ProblemArc[] = [];
  const pools = new Map<string, number>();
  problem.devices.forEach((device, d) => {
    const own = arcsOf[d] ?? [];
    const key = signature(device, own);
    const known = pools.get(key);
    const pool = known ?? devices.length;
    const count = (devices[pool]?.count ?? 0) + (device.count ?? 1);
    devices[pool] = { ...(devices[pool] ?? device), count };
    if (known !== undefined) return;
    pools.set(key, pool);
    for (const arc of own) arcs.push({ ...arc, d: pool });
  });
  return { ...problem, devices, arcs };
}

/** Equal for devices that no plan can tell apart. */
function signature(device: ProblemDevice, arcs: readonly ProblemArc[]): string {
  const lines = arcs.map((arc) => JSON.stringify({ ...arc, d: undefined })).sort();
  return `${JSON.stringify({ ...device, id: undefined, count: undefined })}\n${lines.join('\n')}`;
}
