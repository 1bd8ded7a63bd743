import type { PlanView } from '@fleetgate/shared/api/operations';
import { useState } from 'preact/hooks';

import { type ApiFailure, asFailure } from '../api/failure.js';
import { usePage } from '../page.js';

/** Back to the plan before, asked twice: the first press only asks. */
export function RollbackButton({ plans }: { readonly plans: readonly PlanView[] }) {
  const { client } = usePage();
  const [step, setStep] = useState<'rest' | 'sure' | 'busy'>('rest');
  const [fault, setFault] = useState<ApiFailure | null>(null);
  const possible = plans.some((plan) => plan.state === 'superseded');
  const rollback = async (): Promise<void> => {
    setStep('busy');
    setFault(null);
    try {
      await client.send('POST', '/api/v1/plans/rollback');
    } catch (error) {
      setFault(asFailure(error));
    } finally {
      setStep('rest');
    }
  };
  return (
    <div class="rollback">
      {fault === null ? null : (
        <span class="field-error" role="alert">
          {fault.message}
        </span>
      )}
      {step === 'sure' ? (
        <>
          <span>Back to the plan before?</span>
          <button type="button" class="button button-small button-primary" onClick={() => void rollback()}>
            Roll back
          </button>
          <button type="button" class="button button-small" onClick={() => setStep('rest')}>
            Keep
          </button>
        </>
      ) : (
        <button
          type="button"
          class="button button-small"
          disabled={!possible || step === 'busy'}
          title={possible ? undefined : 'There is no earlier plan'}
          onClick={() => setStep('sure')}
        >
          {step === 'busy' ? 'Rolling back…' : 'Roll back…'}
        </button>
      )}
    </div>
  );
}
