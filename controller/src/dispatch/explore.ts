import type { ExpertId } from '@fleetgate/shared/ids';
import type { Random } from '@fleetgate/shared/random';

import type { Ranked, Selection } from './select.js';

/**
 * What exploring may cost: of all that the choices of least doubt would have been worth, at most this share. The bound
 * holds at every moment, not on average (conservative bandits, Wu, Shariff, Lattimore and Szepesvari 2016).
 */
export const EXPLORATION_SHARE = 0.02;
/** An expert whose mean quality is known to within this (sd) is not worth asking only to learn of it. */
export const LEAST_DOUBT = 0.03;
/** An answer is charged as if the expert were this many standard deviations of doubt worse than predicted... */
const CAUTION = 2;
/** ...and to be preferred without being charged, it has to be better by this many. */
const LEAD = 1;

/** Everything that the bound depends on; quality less priced energy and latency, summed over requests. */
export interface ExplorationAccount {
  /** Requests that might have been explored with, and what their incumbents were predicted to be worth. */
  readonly requests: number;
  readonly earned: number;
  /** Requests that another expert was asked, and how much worse those answers may have been. */
  readonly explored: number;
  readonly charged: number;
}

export const NOTHING_EXPLORED: ExplorationAccount = Object.freeze({ requests: 0, earned: 0, explored: 0, charged: 0 });

/** What a request tries, and on what account. */
export interface Exploring {
  readonly instead: Ranked;
  readonly charge: number;
  /** Shares of what the incumbents were worth: spent after this request, and the most there is. */
  readonly spent: number;
  readonly most: number;
}

/**
 * Who answers: the incumbent, or another, to learn how good that one is.
 *
 * The incumbent is the best choice that is sure enough: of highest value, what is in doubt of its expert taken off. Thompson sampling: each expert of little evidence gets a value drawn from what is believed of it, and the highest one
 * wins. It is asked only where the most that this may cost, on top of what was spent, stays within the share of what incumbents have
 * been worth. Candidates that may not be chosen (limits of the request, full queues) are never tried; those on trial are
 * where `mayTry` says so. Deterministic by `random`, which is drawn from once or twice per expert in doubt.
 */
export function explore(
  selection: Selection,
  account: ExplorationAccount,
  mayTry: (expert: ExpertId) => boolean,
  random: Random,
): { readonly account: ExplorationAccount; readonly selection: Selection } {
  const incumbent = surest(selection);
  if (incumbent?.value === undefined) return { account, selection };
  const { value } = incumbent;
  const cautious = incumbent === selection.chosen ? selection : preferring(selection, incumbent);
  const known = { ...account, requests: account.requests + 1, earned: account.earned + Math.max(0, value) };
  let best = { ranked: incumbent, draw: value + doubtOf(incumbent) * normal(doubtOf(incumbent), random) };
  for (const ranked of worthTrying(selection, incumbent, mayTry)) {
    const draw = (ranked.value ?? 0) + doubtOf(ranked) * normal(doubtOf(ranked), random);
    if (draw > best.draw) best = { ranked, draw };
  }
  if (best.ranked === incumbent) return { account: known, selection: cautious };
  const charge = chargeOf(best.ranked, value);
  const charged = known.charged + charge;
  if (charged > EXPLORATION_SHARE * known.earned) return { account: known, selection: cautious };
  const exploring = { instead: incumbent, charge, spent: charged / known.earned, most: EXPLORATION_SHARE };
  return {
    account: { ...known, explored: known.explored + 1, charged },
    selection: { ...first(selection, best.ranked), exploring },
  };
}

/** The best of those that may be chosen, by value less doubt; the selection's own choice where nothing is in doubt. */
function surest({ chosen, ranked }: Selection): Ranked | undefined {
  let best = chosen;
  const worth = (one: Ranked): number => (one.value ?? -Infinity) - LEAD * doubtOf(one);
  for (const one of ranked) {
    if (best === undefined || one.candidate.excluded !== undefined) break;
    if (worth(one) > worth(best)) best = one;
  }
  return best;
}

function preferring(selection: Selection, incumbent: Ranked): Selection {
  const { chosen } = selection;
  return { ...first(selection, incumbent), ...(chosen === undefined ? {} : { passedOver: chosen }) };
}

function first(selection: Selection, chosen: Ranked): Selection {
  return { ...selection, ranked: [chosen, ...selection.ranked.filter((one) => one !== chosen)], chosen };
}

/** The best candidate of each other expert that little is known of. */
function worthTrying(
  { ranked }: Selection,
  incumbent: Ranked,
  mayTry: (expert: ExpertId) => boolean,
): readonly Ranked[] {
  const best = new Map<ExpertId, Ranked>();
  for (const one of ranked) {
    const { expertId, excluded, cost } = one.candidate;
    if (expertId === incumbent.candidate.expertId || cost === undefined || one.value === undefined) continue;
    if (excluded !== undefined && !(excluded === 'on-trial' && mayTry(expertId))) continue;
    if (doubtOf(one) < LEAST_DOUBT) continue;
    const other = best.get(expertId);
    if (other?.value === undefined || one.value > other.value) best.set(expertId, one);
  }
  return [...best.values()];
}

/** How much worse than the incumbent the answer may be, with caution: its quality is at least 0. */
function chargeOf(ranked: Ranked, incumbentValue: number): number {
  const { quality } = ranked.candidate;
  const cautious = (ranked.value ?? 0) - Math.min(quality, CAUTION * doubtOf(ranked));
  return Math.max(0, incumbentValue - cautious);
}

const doubtOf = ({ candidate }: Ranked): number => candidate.doubt ?? 0;

/** A standard normal draw (Box and Muller 1958); none is made where nothing is in doubt. */
function normal(doubt: number, random: Random): number {
  if (doubt === 0) return 0;
  const radius = Math.sqrt(-2 * Math.log(1 - random.uniform()));
  return radius * Math.cos(2 * Math.PI * random.uniform());
}
