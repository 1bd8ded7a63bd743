import type { PlanView } from '@fleetgate/shared/api/operations';

import { printLine, styled } from './output.js';

/** What a plan comes to, and for a rejected one what conflicts and what would help. */
export function printOutcome(plan: PlanView): void {
  for (const line of plan.explanation) printLine(line);
  if (plan.conflict !== null) printLine(`${styled('red', 'cannot hold together:')} ${plan.conflict.join(', ')}`);
  for (const { text } of plan.relaxations ?? []) printLine(`${styled('green', 'would help:')} ${text}`);
}
