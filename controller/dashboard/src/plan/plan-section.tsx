import type { PlanView } from '@fleetgate/shared/api/operations';

import { ago, duration, number, percent } from '../format.js';
import { Badge } from '../parts/badge.js';
import { Empty, Loading, Section } from '../parts/section.js';
import { usePage } from '../page.js';
import { activePlan, refusedPlan } from '../state/live.js';
import { BudgetForm } from './budget-form.js';
import { BudgetGauges } from './budget-gauges.js';
import { proofSentence } from './plan-words.js';
import { PlacementTable } from './placement-table.js';
import { RefusedPlan } from './refused-plan.js';
import { RollbackButton } from './rollback-button.js';

export function PlanSection() {
  const { store } = usePage();
  const fleet = store.fleet.value;
  const plan = activePlan(fleet);
  const refused = refusedPlan(fleet);
  const refusal = refused === null ? null : <RefusedPlan plan={refused} active={plan} />;
  return (
    <Section id="plan" title="Plan" aside={plan === null ? null : <RollbackButton plans={fleet.plans} />}>
      {!store.loaded.value ? (
        <Loading rows={4} />
      ) : (
        <>
          {plan === null ? (
            <Empty title="No plan yet">
              <p>
                {fleet.devices.size === 0
                  ? 'A plan is made when the first device has joined and its experts are measured.'
                  : 'The experts are being measured on the devices; then the first plan is solved. Watch the chips above.'}
              </p>
            </Empty>
          ) : (
            <div class="plan" data-plan={plan.id}>
              <div class="plan-left">
                <div class="panel">
                  <PlanHead plan={plan} />
                  <PlacementTable fleet={fleet} plan={plan} />
                </div>
                <Why sentences={plan.explanation} />
              </div>
              <div class="panel">
                <h3>Budgets</h3>
                <BudgetForm />
                {refusal}
                <BudgetGauges constraints={plan.constraints} />
              </div>
            </div>
          )}
          {plan === null && fleet.budgets !== null && fleet.devices.size > 0 ? (
            <div class="panel plan-first">
              <BudgetForm />
              {refusal}
            </div>
          ) : null}
        </>
      )}
    </Section>
  );
}

function Why({ sentences }: { readonly sentences: readonly string[] }) {
  if (sentences.length === 0) return null;
  return (
    <div class="panel plan-why">
      <h3>Why this plan</h3>
      <ul>
        {sentences.map((sentence) => (
          <li key={sentence}>{sentence}</li>
        ))}
      </ul>
    </div>
  );
}

function PlanHead({ plan }: { readonly plan: PlanView }) {
  const { store } = usePage();
  return (
    <div class="plan-head">
      <div>
        <h3>Who hosts what</h3>
        <p class="muted">
          {plan.trigger}, {ago(plan.activatedAtMs ?? plan.createdAtMs, store.nowMs.value)}; solved in{' '}
          {duration(plan.solveMs)} by {plan.method}
        </p>
      </div>
      <div class="plan-score">
        <p class="plan-objective">
          <strong data-testid="objective">{plan.objective === null ? '–' : number(plan.objective)}</strong>
          <span>of 1000 quality</span>
        </p>
        <p class="plan-proof">
          {plan.verified ? (
            <Badge tone="good" title="An independent check recomputed the objective and every constraint">
              ✓ verified
            </Badge>
          ) : (
            <Badge tone="warn">not verified</Badge>
          )}
          <span>{proofSentence(plan)}</span>
          {plan.gap === null || plan.gap < 5e-5 ? null : <span class="visually-hidden">gap {percent(plan.gap)}</span>}
        </p>
      </div>
    </div>
  );
}
