import type { DeviceId, ExpertId, VariantId } from '@fleetgate/shared/ids';
import { type Joules, joules, type Milliseconds, milliseconds } from '@fleetgate/shared/units/quantity';

import type { Selection } from '../select.js';

/** An expert that can take part in an answer, as it could be asked now. */
export interface Member {
  readonly expertId: ExpertId;
  readonly variantId: VariantId;
  readonly deviceId: DeviceId;
  /** Predicted, 0..1. */
  readonly quality: number;
  /** Predicted for the whole answer. */
  readonly energy: Joules;
  /** The same, waiting included. */
  readonly latency: Milliseconds;
  /** Quality less what the answer costs at the prices of the selection. */
  readonly value: number;
}

/** The best candidate of each expert that may be asked, best value first. */
export function membersOf(selection: Selection): readonly Member[] {
  const members = new Map<ExpertId, Member>();
  for (const { candidate, value } of selection.ranked) {
    const { expertId, variantId, deviceId, quality, cost, wait, excluded } = candidate;
    if (excluded !== undefined || deviceId === undefined || cost === undefined || members.has(expertId)) continue;
    const latency = milliseconds(cost.latency + wait);
    members.set(expertId, {
      expertId,
      variantId,
      deviceId,
      quality,
      energy: cost.energy,
      latency,
      value: value ?? quality,
    });
  }
  return [...members.values()];
}

/** What a request may still spend; undefined does not bind. */
export interface Allowance {
  readonly calls: number;
  readonly energy: Joules | undefined;
  readonly latency: Milliseconds | undefined;
}

/** As many of the first members as can all be asked at once within the allowance. */
export function affordable(members: readonly Member[], { calls, energy, latency }: Allowance): readonly Member[] {
  const taken: Member[] = [];
  let spent = 0;
  for (const member of members) {
    if (taken.length >= calls) break;
    if (energy !== undefined && spent + member.energy > energy) continue;
    if (latency !== undefined && member.latency > latency) continue;
    spent += member.energy;
    taken.push(member);
  }
  return taken;
}

/**
 * Most tokens of an answer whose predicted energy stays within what is left: energy is linear in them, so two estimates
 * say it. 0 when not even one is affordable.
 */
export function affordableTokens(
  energyOf: (outputTokens: number) => Joules | undefined,
  left: Joules | undefined,
  wanted: number,
): number {
  if (left === undefined) return wanted;
  const [one, all] = [energyOf(1), energyOf(wanted)];
  if (one === undefined || all === undefined || all <= left) return wanted;
  if (one > left) return 0;
  return Math.max(1, Math.floor(1 + ((left - one) / (all - one)) * (wanted - 1)));
}

/** Joules left of a limit; never below 0. */
export function leftOf(limit: Joules | undefined, spent: number): Joules | undefined {
  return limit === undefined ? undefined : joules(Math.max(0, limit - spent));
}

/** What each of members that are asked at once may use of what is left: in proportion to what they are expected to. */
export function sharesOf(members: readonly Member[], left: Joules | undefined): ReadonlyMap<Member, Joules> {
  const all = members.reduce((sum, { energy }) => sum + energy, 0);
  if (left === undefined || all <= 0) return new Map();
  return new Map(members.map((member) => [member, joules((left * member.energy) / all)]));
}
