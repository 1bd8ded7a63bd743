import { FleetError } from '@fleetgate/shared/errors';
import { z } from 'zod';

import type { ExplainQuestion } from '../optimiser/explain-plan.js';
import type { PlacementProblem } from '../optimiser/problem.js';
import type { PlanRecord } from './plan-record.js';

/** What may be asked about a plan, by the names that people use. */
export const explainRequestSchema = z.strictObject({
  /** What binding bounds are worth, why devices are off, the nearest swaps. */
  overview: z.stringbool().optional(),
  curve: z.enum(['power', 'latency']).optional(),
  /** `DEVICE:VARIANT:VARIANT`: the second instead of the first there. */
  swap: z
    .string()
    .regex(/^[^:]+:[^:]+:[^:]+$/, 'expected DEVICE:VARIANT:VARIANT')
    .optional(),
  device: z.string().optional(),
});
export type ExplainRequest = z.infer<typeof explainRequestSchema>;

/** Whether it takes the solver to answer. */
export const needsSolver = ({ overview, curve, swap, device }: ExplainRequest): boolean =>
  overview === true || curve !== undefined || swap !== undefined || device !== undefined;

/** The same by the indices of the plan's problem. Throws `request.invalid` for what the plan does not know. */
export function explainQuestion({ id, problem }: PlanRecord, request: ExplainRequest): ExplainQuestion {
  const { overview = false, curve, swap, device } = request;
  const find = (entries: PlacementProblem['devices'] | PlacementProblem['variants'], name: string, what: string) => {
    const index = entries.findIndex((entry) => entry.id === name);
    if (index >= 0) return index;
    throw new FleetError('request.invalid', `plan ${id} was made without ${what} ${JSON.stringify(name)}`, {
      hint: '`fleetgate devices` and `fleetgate experts` list names',
    });
  };
  const [onDevice = '', from = '', to = ''] = swap?.split(':') ?? [];
  return {
    overview,
    ...(curve === undefined ? {} : { curve }),
    ...(device === undefined ? {} : { device: find(problem.devices, device, 'the device') }),
    ...(swap === undefined
      ? {}
      : {
          swap: {
            d: find(problem.devices, onDevice, 'the device'),
            from: find(problem.variants, from, 'the variant'),
            to: find(problem.variants, to, 'the variant'),
          },
        }),
  };
}
