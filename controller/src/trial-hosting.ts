/** Finds room for experts on trial that the plan has none for, and tells when that changes. */
import type { ExpertId } from '@fleetgate/shared/ids';
import { elapsed, milliseconds } from '@fleetgate/shared/units/quantity';
import { type Observable, Subject } from 'rxjs';

import type { Catalogue } from './catalogue/catalogue.js';
import type { DispatchPolicy } from './dispatch/dispatch-policy.js';
import type { Fleet } from './fleet/fleet.js';
import type { TrialSets } from './open-trials.js';
import { type PlanRecord, poweredOn, spareCopies } from './planning/plan-record.js';
import { planView } from './planning/plan-view.js';
import type { Planner } from './planning/planner.js';
import { planPolicy } from './planning/policy.js';
import { type Candidacy, type TrialHost, trialHost, withTrialHost } from './planning/trial-host.js';
import type { Surroundings } from './surroundings.js';

const LOOK = milliseconds(2000);
/** A copy of the plan makes way for one expert for no longer than this. */
const LONGEST_DISPLACED = milliseconds(10 * 60_000);

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
  { sets, leads }: { readonly sets: TrialSets; readonly leads: () => boolean },
): TrialHosting {
  const changes = new Subject<void>();
  let current: TrialHost | undefined;
  let since = clock.now();
  /** Experts that had a copy make way for them long enough. */
  const hadTheirTurn = new Set<ExpertId>();
  const stop = clock.every(LOOK, () => {
    if (!leads()) return;
    const overdue = current?.displaced !== undefined && elapsed(since, clock.now()) > LONGEST_DISPLACED;
    const expert = current && catalogue.variants.get(current.variantId)?.expertId;
    if (overdue && expert !== undefined) hadTheirTurn.add(expert);
    const next = roomFor(candidacies(sets, hadTheirTurn), fleet, catalogue, planner);
    const { deviceId, displaced, variantId } = next ?? {};
    const isSame = deviceId === current?.deviceId && variantId === current?.variantId;
    if (isSame && displaced === current?.displaced) return;
    current = next;
    since = clock.now();
    log.info('expert.trial-host', { deviceId, variantId, displaced });
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

/** Who has not been scored yet comes before who only has to prove itself, and may have a copy make way. */
function candidacies({ trials }: TrialSets, hadTheirTurn: ReadonlySet<ExpertId>): readonly Candidacy[] {
  const probation = trials?.onProbation() ?? new Set();
  return [...(trials?.onTrial() ?? [])]
    .sort((a, b) => Number(probation.has(a)) - Number(probation.has(b)))
    .map((expert) => ({ expert, mayDisplace: !probation.has(expert) && !hadTheirTurn.has(expert) }));
}

function roomFor(
  experts: readonly Candidacy[],
  fleet: Fleet,
  catalogue: Catalogue,
  planner: Planner,
): TrialHost | undefined {
  const record = planner.plans.active();
  if (experts.length === 0 || record === undefined) return undefined;
  const worth = plannedWorth(record);
  return trialHost(experts, {
    placements: planPolicy(record).placements,
    poweredOn: poweredOn(record),
    spare: spareCopies(record),
    fleet: fleet.view,
    catalogue,
    worth: (device, variant) => worth.get(`${device} ${variant}`) ?? 0,
    maxVariants: planner.budgets().maxVariants,
  });
}

/** Quality times requests/s of each copy, as the plan routes. */
function plannedWorth(record: PlanRecord): ReadonlyMap<string, number> {
  const worth = new Map<string, number>();
  for (const { deviceId, quality, ratePerS, variantId } of planView(record).routing) {
    const key = `${deviceId} ${variantId}`;
    worth.set(key, (worth.get(key) ?? 0) + quality * ratePerS);
  }
  return worth;
}
