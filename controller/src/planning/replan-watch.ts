import { elapsed, milliseconds, type UnixMs } from '@fleetgate/shared/units/quantity';

import type { Circumstances } from './circumstances.js';
import { isDrift, replanTrigger, type Trigger } from './replan-trigger.js';

/** Three devices that join within seconds make one plan. */
export const DEBOUNCE = milliseconds(3000);
/** Drift is slow and noisy; it is looked into at most this often. */
export const DRIFT_PERIOD = milliseconds(60_000);
/**
 * How long a device of the plan may be away before it counts as lost: a crashed agent is back within seconds. For as long,
 * other reasons wait for it.
 */
export const LOSS_GRACE = milliseconds(10_000);
/** After a start of the controller the whole fleet has to reconnect first. */
export const START_GRACE = milliseconds(60_000);
/** Measuring is waited for as long as it moves on; this long after the last measurement a plan is made without. */
export const MEASURE_PATIENCE = milliseconds(120_000);

/** The world at one look. */
export interface Look {
  readonly now: UnixMs;
  readonly circumstances: Circumstances;
  /** `device/variant` of the plan in force. */
  readonly placed: ReadonlySet<string>;
  /** Measurements still to come from devices that are online. */
  readonly awaited: number;
}

/** Decides when a plan is due. Holds only what was considered last and since when things are as they are; no I/O. */
export class ReplanWatch {
  #considered: Circumstances | undefined;
  #needsBaseline: boolean;
  readonly #startedAt: UnixMs;
  /** Since when there has been a reason to plan. */
  #reasonSince: UnixMs | undefined;
  #missingSince: ReadonlyMap<string, UnixMs> = new Map();
  /** Since when one or another of the devices counted on has been away. */
  #incompleteSince: UnixMs | undefined;
  #driftLookedAt: UnixMs;
  #awaited = 0;
  #progressAt: UnixMs;

  /** `considered`: the circumstances of the plan that is in force at the start. */
  constructor(startedAt: UnixMs, considered: Circumstances | undefined) {
    this.#startedAt = startedAt;
    this.#considered = considered;
    // What was learned of costs and demand went with the old process: drift is measured from what is learned now.
    this.#needsBaseline = considered !== undefined;
    this.#driftLookedAt = startedAt;
    this.#progressAt = startedAt;
  }

  /** The reason to plan right now, if any. */
  due(look: Look): Trigger | undefined {
    const { now } = look;
    this.#noteProgress(look);
    const circumstances = this.#withGrace(look.circumstances, now);
    this.#rebase(circumstances, now);
    const trigger = replanTrigger(this.#considered, circumstances, look.placed);
    if (trigger === undefined) {
      this.#reasonSince = undefined;
      return undefined;
    }
    this.#reasonSince ??= now;
    if (isDrift(trigger.kind) && elapsed(this.#driftLookedAt, now) < DRIFT_PERIOD) return undefined;
    if (trigger.kind !== 'budget-changed' && elapsed(this.#reasonSince, now) < DEBOUNCE) return undefined;
    const isMeasuring = look.awaited > 0 && elapsed(this.#progressAt, now) < MEASURE_PATIENCE;
    // A plan made now would leave out a device that is back, or a fleet that is stopped, a moment later.
    const isIncomplete = this.#incompleteSince !== undefined && elapsed(this.#incompleteSince, now) < LOSS_GRACE;
    return (isMeasuring || isIncomplete) && canWait(trigger) ? undefined : trigger;
  }

  /** These circumstances have been planned for, whatever came of it. */
  considered(circumstances: Circumstances, now: UnixMs): void {
    this.#considered = circumstances;
    this.#reasonSince = undefined;
    this.#driftLookedAt = now;
  }

  #noteProgress({ now, awaited }: Look): void {
    if (awaited !== this.#awaited) this.#progressAt = now;
    this.#awaited = awaited;
  }

  /** Devices that were counted on and went away a moment ago are taken as still there. */
  #withGrace(circumstances: Circumstances, now: UnixMs): Circumstances {
    const devices = { ...circumstances.devices };
    const missing = new Map<string, UnixMs>();
    const isStarting = elapsed(this.#startedAt, now) < START_GRACE;
    for (const [id, device] of Object.entries(this.#considered?.devices ?? {})) {
      if (devices[id] !== undefined) continue;
      const since = this.#missingSince.get(id) ?? now;
      missing.set(id, since);
      if (isStarting || elapsed(since, now) < LOSS_GRACE) devices[id] = device;
    }
    this.#missingSince = missing;
    this.#incompleteSince = missing.size === 0 ? undefined : (this.#incompleteSince ?? now);
    return { ...circumstances, devices };
  }

  #rebase(now: Circumstances, at: UnixMs): void {
    if (!this.#needsBaseline || this.#considered === undefined) return;
    this.#considered = { ...this.#considered, costs: now.costs, demand: now.demand, answers: now.answers };
    if (elapsed(this.#startedAt, at) >= START_GRACE) this.#needsBaseline = false;
  }
}

/** A loss or a changed budget cannot wait until a new device is measured or an old one is back. */
function canWait({ kind }: Trigger): boolean {
  switch (kind) {
    case 'first-plan':
    case 'device-joined':
    case 'device-changed':
    case 'catalogue-changed':
    case 'gate-changed':
    case 'cost-drift':
    case 'demand-drift':
      return true;
    case 'device-lost':
    case 'budget-changed':
      return false;
  }
}
