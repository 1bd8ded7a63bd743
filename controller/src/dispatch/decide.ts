import type { FleetError } from '@fleetgate/shared/errors';
import type { DeviceId, PlanId } from '@fleetgate/shared/ids';
import type { Milliseconds } from '@fleetgate/shared/units/quantity';

import type { FleetSnapshot } from '../fleet/device.js';
import { candidatesFor, type DispatchFacts } from './candidates.js';
import { selectCopy } from './copies/select-copy.js';
import { Weighing } from './copies/weighing.js';
import { refusalFor } from './refusal.js';
import type { Choice } from './request-events.js';
import { plannedPrices, type Prices, pricesFor, select, type Selection } from './select.js';

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
  const prices = pricesFor(facts.target.mode, present);
  const weighing = new Weighing(facts, prices);
  const { planId } = facts.policy;
  const chosen = chosenBy(selectFrom(weighing, facts, prices), planId);
  if (chosen !== undefined) return chosen;
  // An expert that has yet to prove itself is better than no answer.
  const unproven = weighing.admitTrials() ? chosenBy(selectFrom(weighing, facts, prices), planId) : undefined;
  if (unproven !== undefined) return unproven;
  const candidates = candidatesFor(facts, weighing);
  const selection = select(candidates, prices, facts.worth);
  return { kind: 'refused', selection, error: refusalFor(candidates, facts, model) };
}

function selectFrom(weighing: Weighing, facts: DispatchFacts, prices: Prices): Selection {
  if (facts.worth === undefined) return selectCopy(facts, weighing, prices);
  return select(candidatesFor(facts, weighing), prices, facts.worth);
}

/** The decision for the selection's choice; undefined where nothing could be chosen. */
export function chosenBy(selection: Selection, planId: PlanId): Chosen | undefined {
  const first = selection.chosen?.candidate;
  if (first?.deviceId === undefined || first.cost === undefined) return undefined;
  const { expertId, variantId, deviceId, cost } = first;
  return { kind: 'chosen', selection, choice: { expertId, variantId, deviceId, planId }, predicted: cost.latency };
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
