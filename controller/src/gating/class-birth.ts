/** Whether prompts that belong to no class are a class of their own. Pure. */
import { SeededRandom } from '@fleetgate/shared/random';

import { rowOf } from './linear-algebra.js';
import { dot, nearestOf, sphericalKMeans, unit } from './spherical-k-means.js';

/** Fewer prompts than this make no class. */
export const LEAST_MEMBERS = 24;
/** Prompts of several new classes may have come together: times that they are taken apart, and the least of a part. */
const MOST_SPLITS = 2;
const LEAST_PART = 6;
/** Two parts whose centres have a higher cosine are one group: noise within one gives about 0.8, two classes 0. */
const ONE_GROUP = 0.5;
/** Rounds in which a group's members and its centre settle. */
const ROUNDS = 5;
/**
 * Cosine with a known class's centre above which a group is a shade of that class: what lies half-way between two
 * classes has more (0.55 to 0.58 with the bundled data, real new classes 0.14 to 0.37; `docs/formulation.md`).
 */
const MOST_ALIKE = 0.5;
/** Mean cosine of prompts with the centre that others of their group make; by chance it is near 0. */
const LEAST_COHESION = 0.4;
/** Of prompts that were taken apart: what was chosen to be alike is more alike than chance. */
const LEAST_COHESION_OF_A_PART = 0.55;
/** A group's centre has to be nearer than any known one by this much in cosine. */
const LEAST_ADVANTAGE = 0.05;

export interface Birth {
  /** A unit vector. */
  readonly centre: Float64Array;
  /** Indices of the prompts it is made of. */
  readonly members: readonly number[];
  /** Cosine of a prompt with a centre that it had no part in: mean, and mean of the square. */
  readonly cosine: number;
  readonly cosineSquare: number;
}

/**
 * The largest group of `places` (unit vectors) that is a class: enough prompts, alike, nearer to one another than to any
 * of `known`, and apart from all of these. Centres are judged on prompts that had no part in them. Same arguments, same
 * answer.
 */
export function birthIn(places: readonly Float64Array[], known: readonly Float64Array[]): Birth | undefined {
  if (places.length < LEAST_MEMBERS) return undefined;
  const prompts = places.map((place, at): Stray => ({ at, place, rival: highest(known, place) }));
  const births = groupsOf(prompts, 0).flatMap(({ group, splits }): Birth[] => {
    const members = settle(group);
    const centre = meanDirection(members);
    const { cosine, cosineSquare, advantage } = togetherness(members);
    const isNew =
      members.length >= LEAST_MEMBERS &&
      highest(known, centre) <= MOST_ALIKE &&
      cosine >= (splits === 0 ? LEAST_COHESION : LEAST_COHESION_OF_A_PART) &&
      advantage >= LEAST_ADVANTAGE;
    return isNew ? [{ centre, members: members.map(({ at }) => at), cosine, cosineSquare }] : [];
  });
  return births.sort((x, y) => y.members.length - x.members.length)[0];
}

/** The prompts, taken apart where they fall into two that are far from one another: they may be of several new classes. */
function groupsOf(
  group: readonly Stray[],
  splits: number,
): readonly { readonly group: readonly Stray[]; readonly splits: number }[] {
  if (splits >= MOST_SPLITS || group.length < 2 * LEAST_PART) return [{ group, splits }];
  const places = group.map(({ place }) => place);
  const centres = sphericalKMeans(places, 2, new SeededRandom(places.length));
  if (dot(rowOf(centres, 0), rowOf(centres, 1)) >= ONE_GROUP) return [{ group, splits }];
  const parts = [0, 1].map((half) => group.filter(({ place }) => nearestOf(centres, place).at === half));
  if (parts.some(({ length }) => length < LEAST_PART)) return [{ group, splits }];
  return parts.flatMap((part) => groupsOf(part, splits + 1));
}

/** A prompt that belongs to no class. */
interface Stray {
  readonly at: number;
  readonly place: Float64Array;
  /** Cosine with the nearest known centre. */
  readonly rival: number;
}

/** The prompts of a group that its own centre is nearer to than any known one: both depend on one another. */
function settle(group: readonly Stray[]): readonly Stray[] {
  let members = group;
  for (let round = 0; round < ROUNDS && members.length >= LEAST_MEMBERS; round++) {
    const centre = meanDirection(members);
    members = group.filter(({ place, rival }) => dot(centre, place) > rival);
  }
  return members;
}

/**
 * How alike the members are, judged half by half by the centre of the other half, and by how much that centre is nearer
 * than any known one, two standard errors allowed for.
 */
function togetherness(
  members: readonly Stray[],
): Pick<Birth, 'cosine' | 'cosineSquare'> & { readonly advantage: number } {
  const halves = [0, 1].map((half) => members.filter((_, at) => at % 2 === half));
  const judged = halves.flatMap((half, at) => {
    const centre = meanDirection(halves[1 - at] ?? []);
    return half.map(({ place, rival }) => ({ cosine: dot(centre, place), rival }));
  });
  const advantages = judged.map(({ cosine, rival }) => cosine - rival);
  const mean = meanOf(advantages);
  const spread = Math.sqrt(meanOf(advantages.map((value) => (value - mean) ** 2)));
  return {
    cosine: meanOf(judged.map(({ cosine }) => cosine)),
    cosineSquare: meanOf(judged.map(({ cosine }) => cosine ** 2)),
    advantage: mean - (2 * spread) / Math.sqrt(Math.max(1, advantages.length)),
  };
}

function meanDirection(members: readonly Stray[]): Float64Array {
  const sum = new Float64Array(members[0]?.place.length ?? 0);
  for (const { place } of members) place.forEach((value, at) => (sum[at] = (sum[at] ?? 0) + value));
  return unit(sum);
}

function highest(centres: readonly Float64Array[], place: Float64Array): number {
  return centres.reduce((most, centre) => Math.max(most, dot(centre, place)), -1);
}

function meanOf(values: readonly number[]): number {
  return values.reduce((sum, value) => sum + value, 0) / Math.max(1, values.length);
}
