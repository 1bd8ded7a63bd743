import type { Budgets } from '@fleetgate/shared/api/operations';
import { buildKey } from '@fleetgate/shared/catalogue/serving';
import type { ClassId } from '@fleetgate/shared/ids';
import { z } from 'zod';

import { isPlaceable } from './readiness.js';
import { budgetsSchema } from './budgets.js';
import { TYPICAL_PROMPT_TOKENS } from '../telemetry/workload-model.js';
import type { ProblemFacts } from './build-problem.js';

/** What a plan was made for. Compared with what is now, it says whether a new one is due; stored with the plan. */
export const circumstancesSchema = z.object({
  devices: z.record(
    z.string(),
    z.object({
      memoryBytes: z.number(),
      slots: z.number(),
      idleW: z.number(),
      standbyW: z.number(),
      /** Variants whose costs it has measured; the others' are predicted. */
      measured: z.number(),
    }),
  ),
  /** `variant@build`, sorted. */
  variants: z.array(z.string()),
  /** Tells one trained gate from another. */
  gate: z.string(),
  budgets: budgetsSchema,
  /** Requests/s by class. */
  demand: z.record(z.string(), z.number()),
  /** Actual over expected tokens of an answer by class. */
  answers: z.record(z.string(), z.number()).default({}),
  /** Service time of a typical request in ms, by `device/variant`. */
  costs: z.record(z.string(), z.number()),
});
export interface Circumstances extends Omit<z.infer<typeof circumstancesSchema>, 'budgets'> {
  readonly budgets: Budgets;
}

const TYPICAL_WORKLOAD = { promptTokens: TYPICAL_PROMPT_TOKENS, outputTokens: 64 };

/** Circumstances of the facts as they are. O(devices * variants). */
export function circumstancesOf(facts: ProblemFacts): Circumstances {
  const devices: Circumstances['devices'] = {};
  const costs: Circumstances['costs'] = {};
  const variants = [...facts.catalogue.variants.values()];
  for (const device of facts.fleet.values()) {
    const reported = device.reported;
    if (reported === undefined || !isPlaceable(device)) continue;
    devices[device.id] = {
      memoryBytes: reported.memory.budgetBytes,
      slots: reported.slots,
      idleW: reported.power.idleW,
      standbyW: reported.power.standbyW,
      measured: reported.measurements.length,
    };
    for (const variant of variants) {
      const cost = facts.costs.estimate(device.id, variant.id, TYPICAL_WORKLOAD);
      if (cost !== undefined) costs[`${device.id}/${variant.id}`] = cost.latency;
    }
  }
  return {
    devices,
    variants: variants.map((variant) => `${variant.id}@${buildKey(variant)}`).sort(),
    gate: `${facts.gate.trainedOn} outcomes, ${[...facts.gate.experts].sort().join(' ')}, ${[...facts.gate.classes].sort().join(' ')}`,
    budgets: facts.budgets,
    demand: Object.fromEntries([...facts.demand].map(([id, rate]: readonly [ClassId, number]) => [id, rate])),
    answers: Object.fromEntries(facts.gate.classes.map((id) => [id, facts.workloads.classFactor(id)])),
    costs,
  };
}
