/** Finds room for experts on trial that the plan has none for, and tells when that changes. */
import type { ExpertId } from '@fleetgate/shared/ids';
import { milliseconds } from '@fleetgate/shared/units/quantity';
import { type Observable, Subject } from 'rxjs';

import type { Catalogue } from './catalogue/catalogue.js';
import type { DispatchPolicy } from './dispatch/dispatch-policy.js';
import type { Fleet } from './fleet/fleet.js';
import type { TrialSets } from './open-trials.js';
import { poweredOn } from './planning/plan-record.js';
import type { Planner } from './planning/planner.js';
import { planPolicy } from './planning/policy.js';
import { type TrialHost, trialHost, withTrialHost } from './planning/trial-host.js';
import type { Surroundings } from './surroundings.js';

const LOOK = milliseconds(2000);

/** Where an expert is tried at the moment. */
export interface TrialHosting {
  current(): TrialHost | undefined;
  readonly changes$: Observable<unknown>;
}

/** Looks for room every other second, for as long as the controller runs. */
export function openTrialHosting(
  { clock, log, closers }: Surroundings,
  fleet: Fleet,
  catalogue: Catalogue,
  planner: Planner,
  sets: TrialSets,
): TrialHosting {
  const changes = new Subject<void>();
  let current: TrialHost | undefined;
  const stop = clock.every(LOOK, () => {
    const next = roomFor(waiting(sets), fleet, catalogue, planner);
    const { deviceId, variantId } = next ?? {};
    if (deviceId === current?.deviceId && variantId === current?.variantId) return;
    current = next;
    log.info('expert.trial-host', { deviceId, variantId });
    changes.next();
  });
  closers.add('trial hosting', stop);
  return { current: () => current, changes$: changes };
}

/** The plan's part with the trial's host among its placements; made again when either changes. */
export function withTrials<T extends Pick<DispatchPolicy, 'placements'>>(
  planned: () => T | undefined,
  hosting: TrialHosting,
): () => T | undefined {
  let last: { readonly from: T; readonly host: TrialHost | undefined; readonly value: T } | undefined;
  return () => {
    const from = planned();
    if (from === undefined) return undefined;
    const host = hosting.current();
    if (last?.from !== from || last.host !== host) {
      last = { from, host, value: { ...from, placements: withTrialHost(from.placements, host) } };
    }
    return last.value;
  };
}

/** Who has not been scored yet comes before who only has to prove itself. */
function waiting({ trials }: TrialSets): readonly ExpertId[] {
  const probation = trials?.onProbation() ?? new Set();
  return [...(trials?.onTrial() ?? [])].sort((a, b) => Number(probation.has(a)) - Number(probation.has(b)));
}

function roomFor(
  experts: readonly ExpertId[],
  fleet: Fleet,
  catalogue: Catalogue,
  planner: Planner,
): TrialHost | undefined {
  const record = planner.plans.active();
  if (experts.length === 0 || record === undefined) return undefined;
  return trialHost(experts, {
    placements: planPolicy(record).placements,
    poweredOn: poweredOn(record),
    fleet: fleet.view,
    catalogue,
    maxVariants: planner.budgets().maxVariants,
  });
}
