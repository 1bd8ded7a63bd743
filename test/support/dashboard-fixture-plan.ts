/** The fixture fleet's plans: one for every power budget, without solving anything. */
import type { Budgets, PlanConstraint, PlanView } from '@fleetgate/shared/api/operations';

import { DEVICES, variantOf } from './dashboard-fixture-fleet.js';

/** Below this no placement serves the demand; above `EASE_W` the bound does not bind. */
const LEAST_W = 11.2;
const EASE_W = 13.9;

export const START_BUDGETS: Budgets = {
  fleetPowerW: 13.2,
  maxVariants: null,
  moveBytes: null,
  defaultClass: { latencyMeanMs: 4000, energyJ: 12, minServed: 0.95, minReplicas: 1, weight: 1 },
  classes: {},
};

export function planFor(budgets: Budgets, id: string, atMs: number, trigger: string): PlanView {
  const bound = budgets.fleetPowerW;
  const common = { id, createdAtMs: atMs, trigger, method: 'milp', budgets, solveMs: 412, demand: [] };
  if (bound !== null && bound < LEAST_W) {
    return {
      ...common,
      state: 'rejected',
      activatedAtMs: null,
      status: 'infeasible',
      objective: null,
      bound: null,
      gap: null,
      verified: false,
      placements: [],
      poweredOn: [],
      routing: [],
      constraints: [],
      conflict: ['power', 'demand'],
      relaxations: [
        { group: 'power', slack: LEAST_W - bound, unit: 'W', text: `power budget ${bound} W -> ${LEAST_W} W` },
        { group: 'demand', slack: 0.21, unit: 'ratio', text: 'served share 95 % -> 74 %' },
      ],
      explanation: [],
    };
  }
  const usedW = Math.min(bound ?? EASE_W, EASE_W);
  const share = (usedW - LEAST_W) / (EASE_W - LEAST_W);
  const binding = bound !== null && bound < EASE_W;
  const hosts = DEVICES.flatMap((device) =>
    device.hosts.filter((expert) => expert !== 'moe' || share > 0.35).map((expert) => ({ device, expert })),
  );
  const constraints: PlanConstraint[] = [
    { group: 'latency', subject: 'story', used: 3920, limit: 4000, unit: 'ms', binding: false, price: 0.0011 },
    { group: 'energy', subject: 'code', used: 7.4, limit: 12, unit: 'J', binding: false, price: null },
    { group: 'util', subject: 'jetson', used: 0.61, limit: 0.8, unit: 'ratio', binding: false, price: null },
    { group: 'util', subject: 'phone', used: 0.38, limit: 0.8, unit: 'ratio', binding: false, price: null },
    { group: 'demand', subject: 'math', used: 1, limit: 0.95, unit: 'ratio', binding: false, price: null },
    { group: 'memory', subject: 'phone', used: 1.34, limit: 3, unit: 'GiB', binding: false, price: null },
  ];
  if (bound !== null) {
    const power = { group: 'power', subject: '', used: usedW, limit: bound, unit: 'W', binding };
    constraints.unshift({ ...power, price: binding ? 41.5 : 0 });
  }
  return {
    ...common,
    state: 'active',
    activatedAtMs: atMs,
    status: 'optimal',
    objective: 630 + 112 * share,
    bound: 630 + 112 * share,
    gap: 0,
    verified: true,
    placements: hosts.map(({ device, expert }) => ({ deviceId: device.id, variantId: variantOf(expert) })),
    poweredOn: DEVICES.map((device) => device.id),
    routing: hosts.map(({ device, expert }, i) => ({
      classId: expert,
      deviceId: device.id,
      variantId: variantOf(expert),
      ratePerS: expert === 'big' ? 0 : 0.04 + 0.03 * (i % 4),
      quality: 0.7,
      energyJ: 3 + i * 0.4,
      latencyMs: 700 + i * 140,
    })),
    constraints,
    conflict: null,
    relaxations: null,
    explanation: [
      binding
        ? `Fleet power binds: one more watt would buy 41.5 points of quality.`
        : 'No budget binds: this is the best quality that these experts and devices can give.',
      'math, code and moe run on jetson because it gives their answers for the fewest joules.',
      'medical and finance run on pi: together they need 1.3 GiB and their demand keeps it busy 38 % of the time.',
      'dialogue and story run on phone, which is slow but draws least when idle.',
    ],
  };
}
