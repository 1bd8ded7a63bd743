/** One class of prompts as traffic shows it: where its centre has gone, how wide it is, how busy. */
import type { ClassId } from '@fleetgate/shared/ids';
import type { UnixMs } from '@fleetgate/shared/units/quantity';

import { dot, scaleToUnit, unit } from './spherical-k-means.js';

export interface TrackedClass {
  readonly id: ClassId;
  readonly label: string;
  readonly origin: 'trained' | 'found';
  /** Where training or its birth put it; unit vectors, as `centre`. */
  readonly home: Float64Array;
  readonly centre: Float64Array;
  /** Prompts that moved the centre, those it began with included; bounds how far one more moves it. */
  readonly weight: number;
  /** Cosine of its prompts with the centre: exponentially weighted mean, and mean of the square. */
  readonly cosine: number;
  readonly cosineSquare: number;
  /** Prompts of the traffic since it is followed. */
  readonly seen: number;
  /** The same, each prompt that came to any class since forgetting its share (`MEMORY`); as of that prompt. */
  readonly recent: number;
  readonly recentAt: number;
  readonly since: UnixMs;
  readonly lastAt: UnixMs;
}

/** A prompt moves the centre of its class by at least one in so many: it never stops following. */
const SLOWEST = 200;
/** No class wanders further from its home than this: beyond, it would be another one. */
export const MOST_DISPLACEMENT_DEG = 30;
const LEAST_HOME_COSINE = Math.cos((MOST_DISPLACEMENT_DEG * Math.PI) / 180);
/** Of all prompts, so many are remembered when shares are told. */
export const MEMORY = 1000;
/** What a class's prompts are taken to be like before any came: cosines with its centre, and prompts that this counts for. */
const USUAL = { cosine: 0.5, square: 0.5 ** 2 + 0.2 ** 2 };
/** A prompt this many standard deviations less like the centre than the class's prompts are is none of them... */
const WITHIN = 2;
/** ...however narrow it seems: what is left out by this no longer shows how wide the class is. */
const LEAST_SPREAD = 0.2;

/** A class at its home. `weight`: prompts that put it there. */
export function settled(
  id: ClassId,
  label: string,
  origin: TrackedClass['origin'],
  home: Float64Array,
  weight: number,
  at: UnixMs,
): TrackedClass {
  const { cosine, square: cosineSquare } = USUAL;
  const busy = { seen: 0, recent: 0, recentAt: 0, since: at, lastAt: at };
  return { id, label, origin, home, centre: home, weight: Math.max(1, weight), cosine, cosineSquare, ...busy };
}

/** The class after one more of its prompts (a step of spherical mini-batch k-means); `place` is a unit vector. */
export function moved(one: TrackedClass, place: Float64Array): TrackedClass {
  const weight = Math.min(SLOWEST, one.weight + 1);
  const rate = 1 / weight;
  const cosine = dot(one.centre, place);
  // No gate has put the prompt into a found class: one at its rim may be of another that is still to be found.
  const moves = one.origin === 'trained' || cosine > one.cosine - WITHIN * spreadOf(one);
  return {
    ...one,
    centre: moves ? tethered(one.home, towards(one.centre, place, rate)) : one.centre,
    weight,
    cosine: one.cosine + rate * (cosine - one.cosine),
    cosineSquare: one.cosineSquare + rate * (cosine ** 2 - one.cosineSquare),
  };
}

/** Counts one of its prompts, the `count`-th of all. */
export function counted(one: TrackedClass, count: number, at: UnixMs): TrackedClass {
  const recent = 1 + recentOf(one, count);
  return { ...one, seen: one.seen + 1, recent, recentAt: count, lastAt: at };
}

/** Prompts it had lately, of about `MEMORY`, when `count` prompts came in all. */
export function recentOf({ recent, recentAt }: TrackedClass, count: number): number {
  return recent * (1 - 1 / MEMORY) ** (count - recentAt);
}

/** Degrees between centre and home. */
export function displacementOf({ home, centre }: TrackedClass): number {
  return (Math.acos(Math.min(1, Math.max(-1, dot(home, centre)))) * 180) / Math.PI;
}

/** Whether a prompt of this cosine with the centre could be one of the class's. */
export function covers(one: TrackedClass, ofPrompt: number): boolean {
  return ofPrompt > Math.max(0, one.cosine - WITHIN * Math.max(LEAST_SPREAD, spreadOf(one)));
}

function spreadOf({ cosine, cosineSquare }: TrackedClass): number {
  return Math.sqrt(Math.max(0, cosineSquare - cosine ** 2));
}

/** The direction that is `rate` of the way from one to the other. */
function towards(from: Float64Array, to: Float64Array, rate: number): Float64Array {
  const between = from.slice();
  for (let at = 0; at < between.length; at++) between[at] = (1 - rate) * (from[at] ?? 0) + rate * (to[at] ?? 0);
  return scaleToUnit(between);
}

/** `vector`, or the nearest to it that is no further from home than allowed. */
function tethered(home: Float64Array, vector: Float64Array): Float64Array {
  const along = dot(home, vector);
  if (along >= LEAST_HOME_COSINE) return vector;
  const aside = unit(vector.map((value, at) => value - along * (home[at] ?? 0)));
  const across = Math.sqrt(1 - LEAST_HOME_COSINE ** 2);
  return unit(aside.map((value, at) => LEAST_HOME_COSINE * (home[at] ?? 0) + across * value));
}
