import type { PlanView } from '@fleetgate/shared/api/operations';

import { usePage } from '../page.js';
import { AskingButton } from '../parts/asking-button.js';

/** Back to the plan before. */
export function RollbackButton({ plans }: { readonly plans: readonly PlanView[] }) {
  const { client } = usePage();
  const isPossible = plans.some((plan) => plan.state === 'superseded');
  return (
    <AskingButton
      label="Roll back…"
      question="Back to the plan before?"
      yes="Roll back"
      no="Keep"
      busy="Rolling back…"
      impossible={isPossible ? undefined : 'There is no earlier plan'}
      act={() => client.send('POST', '/api/v1/plans/rollback')}
    />
  );
}
