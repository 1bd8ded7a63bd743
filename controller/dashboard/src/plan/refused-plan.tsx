import type { PlanView } from '@fleetgate/shared/api/operations';
import { useState } from 'preact/hooks';

import { type ApiFailure, asFailure } from '../api/failure.js';
import { ago, watts } from '../format.js';
import { usePage } from '../page.js';
import { repairPowerW, withPower } from './budget-change.js';
import { groupTitle } from './plan-words.js';

/** The last proposal met no plan: which budgets conflict, and the smallest change that would help. */
export function RefusedPlan({ plan, active }: { readonly plan: PlanView; readonly active: PlanView | null }) {
  const { store } = usePage();
  const conflict = plan.conflict ?? [];
  return (
    <div class="callout tone-warn" role="status" data-testid="refused">
      <p>
        <strong>{plan.status === 'infeasible' ? 'No plan meets the budgets' : 'The last plan was rejected'}</strong> (
        {plan.trigger}, {ago(plan.createdAtMs, store.nowMs.value)}).{' '}
        {active === null ? 'No plan is active.' : 'The old plan stays active.'}
      </p>
      {plan.status === 'infeasible' || plan.explanation.length === 0 ? null : <p>{plan.explanation[0]}</p>}
      {conflict.length === 0 ? null : (
        <p>
          In conflict:{' '}
          {conflict.map((group, i) => (
            <span key={group}>
              {i === 0 ? '' : i === conflict.length - 1 ? ' and ' : ', '}
              <strong>{groupTitle(group).toLowerCase()}</strong>
            </span>
          ))}
          .
        </p>
      )}
      {plan.relaxations === null || plan.relaxations.length === 0 ? null : (
        <>
          <p>Any one of these would make it possible:</p>
          <ul>
            {plan.relaxations.map((relaxation) => (
              <li key={relaxation.group}>
                {relaxation.text} {relaxation.group === 'power' ? <Repair plan={plan} /> : null}
              </li>
            ))}
          </ul>
        </>
      )}
    </div>
  );
}

function Repair({ plan }: { readonly plan: PlanView }) {
  const { store, client } = usePage();
  const [fault, setFault] = useState<ApiFailure | null>(null);
  const [saving, setSaving] = useState(false);
  const powerW = repairPowerW(plan);
  const { budgets } = store.fleet.value;
  if (powerW === null || budgets === null) return null;
  const repair = async (): Promise<void> => {
    setSaving(true);
    setFault(null);
    try {
      await client.send('PUT', '/api/v1/budgets', withPower(budgets, powerW));
    } catch (error) {
      setFault(asFailure(error));
    } finally {
      setSaving(false);
    }
  };
  return (
    <>
      <button
        type="button"
        class="button button-small"
        disabled={saving}
        onClick={() => void repair()}
        data-testid="repair"
      >
        Set {watts(powerW)}
      </button>
      {fault === null ? null : <span class="field-error"> {fault.message}</span>}
    </>
  );
}
