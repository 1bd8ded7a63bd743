import type { Budgets } from '@fleetgate/shared/api/operations';
import { useState } from 'preact/hooks';

import { type ApiFailure, asFailure } from '../api/failure.js';
import { number, watts } from '../format.js';
import { usePage } from '../page.js';
import { activePlan } from '../state/live.js';
import { changeOutcome, parsePower, type PendingChange, withPower } from './budget-change.js';

/** Changes the fleet power budget and follows what becomes of it. */
export function BudgetForm() {
  const { store, client } = usePage();
  const fleet = store.fleet.value;
  const [text, setText] = useState<string | null>(null);
  const [fault, setFault] = useState<ApiFailure | string | null>(null);
  const [saving, setSaving] = useState(false);
  const [change, setChange] = useState<PendingChange | null>(null);
  const { budgets } = fleet;
  if (budgets === null) return null;
  const current = budgets.fleetPowerW;

  async function save(budgets: Budgets, typed: string): Promise<void> {
    const input = parsePower(typed);
    if (!input.ok) return setFault(input.message);
    const before = activePlan(fleet);
    const pending: PendingChange = {
      savedAtMs: store.nowMs.peek(),
      knownIds: new Set(fleet.plans.map((plan) => plan.id)),
      before,
    };
    setFault(null);
    setChange(null);
    setSaving(true);
    try {
      await client.send('PUT', '/api/v1/budgets', withPower(budgets, input.fleetPowerW));
      setChange(pending);
      setText(null);
    } catch (error) {
      setFault(asFailure(error));
    } finally {
      setSaving(false);
    }
  }

  const shown = text ?? (current === null ? '' : String(current));
  return (
    <form
      class="budget-form"
      onSubmit={(event) => {
        event.preventDefault();
        void save(budgets, shown);
      }}
    >
      <label class="field" for="fleet-power">
        Fleet power budget, W
      </label>
      <div class="field-row">
        <input
          id="fleet-power"
          name="fleetPowerW"
          inputMode="decimal"
          autocomplete="off"
          placeholder="no bound"
          value={shown}
          aria-invalid={fault === null ? undefined : 'true'}
          aria-describedby="fleet-power-result"
          onInput={(event) => setText(event.currentTarget.value)}
        />
        <button type="submit" class="button button-primary" disabled={saving || text === null}>
          {saving ? 'Saving…' : 'Set budget'}
        </button>
      </div>
      <div id="fleet-power-result" aria-live="polite">
        {fault === null ? null : <Fault fault={fault} />}
        {change === null ? null : <Outcome change={change} />}
      </div>
    </form>
  );
}

function Fault({ fault }: { readonly fault: ApiFailure | string }) {
  return (
    <p class="field-error" data-outcome="refused">
      {typeof fault === 'string' ? fault : fault.message}
      {typeof fault === 'string' || fault.hint === null ? null : <span class="muted"> {fault.hint}</span>}
    </p>
  );
}

function Outcome({ change }: { readonly change: PendingChange }) {
  const { store } = usePage();
  const outcome = changeOutcome(change, store.fleet.value.plans, store.nowMs.value);
  switch (outcome.kind) {
    case 'waiting':
      return (
        <p class="outcome" data-outcome="waiting">
          Saved. Solving a new plan…
        </p>
      );
    case 'kept':
      return (
        <p class="outcome" data-outcome="kept">
          Saved. The active plan fits the new budget and stays.
        </p>
      );
    case 'refused':
      return (
        <p class="outcome tone-warn" data-outcome="refused">
          {outcome.plan.status === 'infeasible'
            ? `Saved, but no plan meets ${watts(outcome.plan.budgets.fleetPowerW)}. The old plan stays; see below what would help.`
            : 'Saved, but the new plan was rejected. The old plan stays; see below why.'}
        </p>
      );
    case 'planned':
      return (
        <p class="outcome tone-good" data-outcome="planned">
          A new plan took over{difference(outcome.before?.objective, outcome.plan.objective)}.
        </p>
      );
  }
}

function difference(before: number | null | undefined, after: number | null): string {
  if (before === null || before === undefined || after === null) return '';
  const [was, is] = [number(before), number(after)];
  return was === is ? `, quality stays at ${is}` : `: quality ${was} → ${is}`;
}
