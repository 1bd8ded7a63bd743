import type { ClassId, DeviceId } from '@fleetgate/shared/ids';

import type { Candidate } from './candidates.js';
import { FREE, type Surcharge } from './control/request-control.js';
import type { DispatchPolicy } from './dispatch-policy.js';
import type { Exploring } from './explore.js';
import type { Mode } from './prompt.js';

/** What a candidate's quality has to pay. */
export interface Prices {
  readonly qualityPerJoule: number;
  readonly qualityPerSecond: number;
  /** What a device's own budgets add; absent: nothing. */
  readonly surchargeOf?: ((device: DeviceId) => Surcharge) | undefined;
}

/**
 * `auto:eco` pays this many times the plan's price of energy, and never less than ECO_FLOOR: 10 J have to earn at least
 * a tenth of the quality scale, about the distance between a domain's expert and a generalist on it.
 */
export const ECO_MULTIPLIER = 4;
export const ECO_FLOOR_PER_JOULE = 0.01;
/** The same for `auto:fast` and seconds: 2 s have to earn a tenth. */
export const FAST_MULTIPLIER = 4;
export const FAST_FLOOR_PER_SECOND = 0.05;

/** The plan's dual prices for a class: what holds where nothing follows the budgets request by request. */
export function plannedPrices(policy: DispatchPolicy, classId: ClassId | undefined): Prices {
  const ofClass = classId === undefined ? undefined : policy.qualityPerJouleByClass.get(classId);
  const qualityPerJoule = ofClass ?? policy.qualityPerJoule;
  const qualityPerSecond = (classId === undefined ? undefined : policy.qualityPerSecond.get(classId)) ?? 0;
  return { qualityPerJoule, qualityPerSecond };
}

/** Prices of a mode: the present ones, with one of them raised (`eco`, `fast`), or none at all (`best`). */
export function pricesFor(mode: Mode, present: Prices): Prices {
  const { qualityPerJoule, qualityPerSecond } = present;
  switch (mode) {
    case 'auto':
      return present;
    case 'eco':
      return { ...present, qualityPerJoule: Math.max(ECO_FLOOR_PER_JOULE, ECO_MULTIPLIER * qualityPerJoule) };
    case 'fast':
      return { ...present, qualityPerSecond: Math.max(FAST_FLOOR_PER_SECOND, FAST_MULTIPLIER * qualityPerSecond) };
    case 'best':
      return { qualityPerJoule: 0, qualityPerSecond: 0 };
  }
}

/** Quality that answers on one device have to earn: for a joule, a millisecond of work, and one of waiting. */
export interface Rates {
  readonly perJoule: number;
  readonly perMs: number;
  readonly perWaitMs: number;
}

/** What a request pays on a device whose own budgets add `surcharge`. */
export function ratesOf(
  { qualityPerJoule, qualityPerSecond }: Prices,
  { perBusySecond, perJoule }: Surcharge = FREE,
): Rates {
  return {
    perJoule: qualityPerJoule + perJoule,
    perMs: (qualityPerSecond + perBusySecond) / 1000,
    perWaitMs: qualityPerSecond / 1000,
  };
}

/** Quality, leant towards the plan's shares, less priced energy and latency, waiting included; undefined without a cost. */
export function valueOf(candidate: Candidate, prices: Prices): number | undefined {
  const { quality, bias = 0, cost, deviceId, wait } = candidate;
  if (cost === undefined) return undefined;
  const { perJoule, perMs, perWaitMs } = ratesOf(prices, deviceId && prices.surchargeOf?.(deviceId));
  return quality + bias - perJoule * cost.energy - perMs * cost.latency - perWaitMs * wait;
}

/** Candidates that a decision keeps, the best of experts besides: as many as its record holds. */
export const MOST_RANKED = 32;

export interface Ranked {
  readonly candidate: Candidate;
  readonly value: number | undefined;
}

export interface Selection {
  readonly prices: Prices;
  /**
   * Those that may be chosen first, best first; then the excluded ones. Of many, the best `MOST_RANKED` and the best of each
   * other expert; where nothing may be chosen, all.
   */
  readonly ranked: readonly Ranked[];
  /** How many may be chosen, in `ranked` or not. */
  readonly eligible: number;
  /** The first of `ranked` unless that one is excluded. */
  readonly chosen: Ranked | undefined;
  /** Set where `chosen` is asked only to learn how good it is. */
  readonly exploring?: Exploring;
  /** The choice of highest value, where too much is in doubt of it to be preferred. */
  readonly passedOver?: Ranked;
}

/**
 * Takes the candidate of the highest value that is not excluded.
 *
 * Equal values go to the one that answers sooner, then to the one that needs less energy, then by variant and device id,
 * so that the choice does not depend on input order. O(n log n).
 */
export function select(
  candidates: readonly Candidate[],
  prices: Prices,
  worth: (candidate: Candidate) => number | undefined = (candidate) => valueOf(candidate, prices),
): Selection {
  const ranked = candidates.map((candidate) => ({ candidate, value: worth(candidate) })).sort(byPreference);
  const first = ranked[0];
  const eligible = candidates.reduce((count, { excluded }) => count + Number(excluded === undefined), 0);
  return { prices, ranked, eligible, chosen: first?.candidate.excluded === undefined ? first : undefined };
}

/** The order of `Selection.ranked`. */
export function byPreference(a: Ranked, b: Ranked): number {
  const open = Number(a.candidate.excluded !== undefined) - Number(b.candidate.excluded !== undefined);
  if (open !== 0) return open;
  if (a.value !== b.value) return (b.value ?? -Infinity) - (a.value ?? -Infinity);
  return (
    answerTime(a.candidate) - answerTime(b.candidate) ||
    (a.candidate.cost?.energy ?? 0) - (b.candidate.cost?.energy ?? 0) ||
    compare(a.candidate.variantId, b.candidate.variantId) ||
    compare(a.candidate.deviceId ?? '', b.candidate.deviceId ?? '')
  );
}

const answerTime = ({ cost, wait }: Candidate): number => (cost?.latency ?? 0) + wait;
const compare = (a: string, b: string): number => (a < b ? -1 : a > b ? 1 : 0);
