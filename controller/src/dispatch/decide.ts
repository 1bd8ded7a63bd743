import type { FleetError } from '@fleetgate/shared/errors';
import type { DeviceId, PlanId } from '@fleetgate/shared/ids';
import type { Milliseconds } from '@fleetgate/shared/units/quantity';

import type { FleetSnapshot } from '../fleet/device.js';
import { type Candidate, candidatesFor, type DispatchFacts } from './candidates.js';
import { refusalFor } from './refusal.js';
import type { Choice } from './request-events.js';
import { plannedPrices, pricesFor, select, type Selection, valueOf } from './select.js';

export interface Chosen {
  readonly kind: 'chosen';
  readonly selection: Selection;
  readonly choice: Choice;
  /** Time that the job will occupy its device. */
  readonly predicted: Milliseconds;
}
export type Decision = Chosen | { readonly kind: 'refused'; readonly selection: Selection; readonly error: FleetError };

/** Who answers a prompt for `model`, or why nobody can; the same facts give the same answer. */
export function decide(facts: DispatchFacts, model: string): Decision {
  const present = facts.control ?? plannedPrices(facts.policy, facts.score?.classId);
  const candidates = candidatesFor(facts).map(affordable(facts));
  const prices = pricesFor(facts.target.mode, present);
  const selection = select(candidates, prices, facts.worth);
  const { planId } = facts.policy;
  // An expert that has yet to prove itself is better than no answer.
  return (
    chosenBy(selection, planId) ??
    chosenBy(select(candidates.map(offTrial), prices, facts.worth), planId) ?? {
      kind: 'refused',
      selection,
      error: refusalFor(candidates, facts, model),
    }
  );
}

/** The decision for the selection's choice; undefined where nothing could be chosen. */
export function chosenBy(selection: Selection, planId: PlanId): Chosen | undefined {
  const first = selection.chosen?.candidate;
  if (first?.deviceId === undefined || first.cost === undefined) return undefined;
  const { expertId, variantId, deviceId, cost } = first;
  return { kind: 'chosen', selection, choice: { expertId, variantId, deviceId, planId }, predicted: cost.latency };
}

/**
 * What costs more, at the present prices, than answering is worth is not done: drift-plus-penalty's rule of admission
 * (docs/formulation.md). Whatever the mode, for budgets hold for all. A busy device is nobody's budget: it makes others
 * preferred, and what waiting costs is in the price of latency. Only what has a cost and no other fault is judged.
 */
function affordable({ control }: DispatchFacts): (candidate: Candidate) => Candidate {
  if (control === undefined) return (candidate) => candidate;
  const surchargeOf = (device: DeviceId) => ({ ...control.surchargeOf(device), perBusySecond: 0 });
  const prices = { ...control, surchargeOf };
  return (candidate) => {
    if (candidate.excluded !== undefined) return candidate;
    const value = valueOf(candidate, prices) ?? 0;
    return value + control.served < 0 ? { ...candidate, excluded: 'priced-out' } : candidate;
  };
}

function offTrial(candidate: Candidate): Candidate {
  return candidate.excluded === 'on-trial' ? { ...candidate, excluded: undefined } : candidate;
}

/** How far the device that fetches is which has come farthest; undefined while none fetches. */
export function fetchProgress(
  fleet: FleetSnapshot,
): { readonly node: DeviceId; readonly progress: number } | undefined {
  let best: { readonly node: DeviceId; readonly progress: number } | undefined;
  for (const device of fleet.values()) {
    for (const { residency, progress } of device.reported?.variants ?? []) {
      if (residency !== 'fetching' || progress === undefined) continue;
      if (best === undefined || progress > best.progress) best = { node: device.id, progress };
    }
  }
  return best;
}
