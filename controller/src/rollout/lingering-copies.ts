import type { Clock } from '@fleetgate/shared/clock';
import type { DeviceId } from '@fleetgate/shared/ids';
import { after, milliseconds, type UnixMs } from '@fleetgate/shared/units/quantity';
import { type Observable, Subject, type Subscription } from 'rxjs';

import type { Catalogue } from '../catalogue/catalogue.js';
import type { FleetChange, FleetSnapshot } from '../fleet/device.js';
import { leftCopies, type LeftCopy, lingering, type Placements } from './lingering.js';

/** A copy that the plan has left behind goes after this time, whatever has become of what replaces it. */
export const LONGEST_LINGERING = milliseconds(120_000);

const NONE: Placements = new Map();

export interface LingeringParts {
  readonly fleet: { readonly view: FleetSnapshot; readonly changes$: Observable<FleetChange> };
  readonly catalogue: Catalogue;
  /** The plan in force; the same object for as long as nothing changes in it. */
  readonly plan: () => { readonly placements: Placements } | undefined;
  readonly clock: Clock;
}

/**
 * Copies that serve on after a change of plan, as it is now. Holds only since when the plan has left each of them behind;
 * looks again when the plan, a device's document or what a device says has changed, or when a copy's time is over.
 */
export class LingeringCopies {
  readonly #parts: LingeringParts;
  readonly #changes = new Subject<void>();
  readonly #subscription: Subscription;
  #since: ReadonlyMap<string, UnixMs> = new Map();
  #current: Placements = NONE;
  #from: { readonly placements: Placements } | undefined;
  #isStale = true;
  #cancel: (() => void) | undefined;

  constructor(parts: LingeringParts) {
    this.#parts = parts;
    this.#subscription = parts.fleet.changes$.subscribe(({ before, after: now }) => {
      // Renewed leases and telemetry come by the second and change nothing here.
      const keys = ['presence', 'reported', 'desired'] as const;
      if (keys.some((key) => before?.[key] !== now?.[key])) this.#isStale = true;
    });
  }

  /** Tells when a copy's time is over; changes of the plan and the fleet are known to all. */
  get changes$(): Observable<void> {
    return this.#changes;
  }

  /** The same object for as long as the same copies linger. */
  current(): Placements {
    const plan = this.#parts.plan();
    if (!this.#isStale && plan === this.#from) return this.#current;
    this.#from = plan;
    this.#isStale = false;
    const next = plan === undefined ? NONE : this.#look(plan.placements);
    if (!isSame(this.#current, next)) this.#current = next;
    return this.#current;
  }

  close(): void {
    this.#subscription.unsubscribe();
    this.#cancel?.();
  }

  #look(placements: Placements): Placements {
    const { catalogue, clock, fleet } = this.#parts;
    const facts = { placements, fleet: fleet.view, catalogue };
    const now = clock.now();
    const left = leftCopies(facts);
    this.#since = new Map(left.map((copy) => [keyOf(copy), this.#since.get(keyOf(copy)) ?? now]));
    const endOf = (copy: LeftCopy): UnixMs => after(this.#since.get(keyOf(copy)) ?? now, LONGEST_LINGERING);
    const inTime = left.filter((copy) => now < endOf(copy));
    this.#wake(inTime.map(endOf), now);
    return lingering(inTime, facts);
  }

  #wake(ends: readonly UnixMs[], now: UnixMs): void {
    this.#cancel?.();
    this.#cancel = undefined;
    if (ends.length === 0) return;
    this.#cancel = this.#parts.clock.after(milliseconds(Math.min(...ends) - now), () => {
      this.#isStale = true;
      this.#changes.next();
    });
  }
}

/**
 * A plan's part with what lingers among its placements, and told apart; made again when either changes. Whoever sends
 * prompts may ask a copy that lingers like any other.
 */
export function withLingering<T extends { readonly placements: Placements }>(
  planned: () => T | undefined,
  copies: Pick<LingeringCopies, 'current'>,
): () => (T & { readonly lingering: Placements }) | undefined {
  let last: { readonly from: T; readonly value: T & { readonly lingering: Placements } } | undefined;
  return () => {
    const from = planned();
    if (from === undefined) return undefined;
    const now = copies.current();
    if (last?.from !== from || last.value.lingering !== now) {
      last = { from, value: { ...from, placements: merged(from.placements, now), lingering: now } };
    }
    return last.value;
  };
}

function merged(placements: Placements, more: Placements): Placements {
  if (more.size === 0) return placements;
  const all = new Map(placements);
  for (const [device, variants] of more) all.set(device, new Set([...(all.get(device) ?? []), ...variants]));
  return all;
}

const keyOf = ({ deviceId, variantId }: LeftCopy): string => `${deviceId} ${variantId}`;

function isSame(a: Placements, b: Placements): boolean {
  const isEqual = (device: DeviceId): boolean => {
    const [one, other] = [a.get(device), b.get(device)];
    return one?.size === other?.size && [...(one ?? [])].every((variant) => other?.has(variant) === true);
  };
  return a.size === b.size && [...a.keys()].every(isEqual);
}
