import type { LinearProgram } from './linear-program.js';
import { countOf } from './placement.js';
import type { PlacementProblem } from './problem.js';
import { solveSubset } from './subset-kernel.js';

/**
 * The catalogue that is worth most at given prices: MoE^2's monotone subset problem, solved exactly.
 *
 * Price splitting: a class pays for what a variant does for it, a device is paid for its time. With variants as
 * facilities, a class is worth the most that any variant of the catalogue leaves it, and a device the most that any
 * variant earns on it; at the optimal prices of the linear program no catalogue is worth more than its bound
 * (docs/formulation.md). Undefined when time is over first.
 */
export function bestCatalogue(
  problem: PlacementProblem,
  program: LinearProgram,
  duals: Float64Array,
  expired: () => boolean,
): readonly number[] | undefined {
  const [V, K, U] = [problem.variants.length, problem.classes.length, problem.devices.length];
  const clients = K + U;
  const value = new Float64Array(V * clients);
  const time = new Float64Array(U);
  program.rowNames.forEach((name, i) => {
    const dual = Math.abs(duals[i] ?? 0);
    const [group = '', indices = ''] = name?.split(':') ?? [];
    const [a = 0, b = 0] = indices.split(',').map(Number);
    if (group === 'served') for (let v = 0; v < V; v++) value[v * clients + a] = (value[v * clients + a] ?? 0) + dual;
    else if (group === 'strong') value[a * clients + b] = (value[a * clients + b] ?? 0) + dual;
    else if (group === 'util') time[a] = Math.max(time[a] ?? 0, dual);
    else if (group === 'link') value[b * clients + K + a] = (value[b * clients + K + a] ?? 0) + dual;
  });
  const power = Math.abs(duals[program.rowNames.indexOf('power')] ?? 0);
  const hosts = new Set(problem.arcs.map(({ d, v }) => d * V + v));
  problem.devices.forEach((device, u) => {
    for (let v = 0; v < V; v++) {
      const at = v * clients + K + u;
      const earned = device.maxUtil * ((time[u] ?? 0) + (value[at] ?? 0)) - device.idleW * power;
      value[at] = hosts.has(u * V + v) ? Math.max(0, earned) * countOf(problem, u) : 0;
    }
  });
  const served = new Set(problem.arcs.map(({ v, k }) => v * K + k));
  for (let v = 0; v < V; v++) {
    for (let k = 0; k < K; k++) if (!served.has(v * K + k)) value[v * clients + k] = 0;
  }
  const maxCount = problem.budgets.maxVariants ?? V;
  const result = solveSubset({ facilities: V, clients, value, service: 'optional', maxCount }, { expired, gap: 1e-6 });
  return result.subset ?? undefined;
}
