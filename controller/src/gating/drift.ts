/** How far one set of prompts is from another, as the gate sees them. Pure. */
import { MOST_NOVELTY } from './abstention.js';

/** Counts as if each class had this many prompts more: a class without any must not make the index infinite. */
const PRIOR_COUNT = 0.5;

/** By common usage: up to 0.1 the same, up to 0.25 somewhat different, above that another population. */
export type DriftVerdict = 'same' | 'somewhat different' | 'different';
const SOMEWHAT = 0.1;
const DIFFERENT = 0.25;

/** What of one prompt is compared. */
export interface SeenPrompt {
  readonly classId: string;
  /** 0..1; undefined where it is not known. */
  readonly novelty: number | undefined;
}

export interface ClassShare {
  readonly classId: string;
  /** Shares of the reference and of what is compared with it, 0..1. */
  readonly before: number;
  readonly now: number;
}

export interface Drift {
  readonly prompts: number;
  /** Population stability index of the class shares: sum of (now - before) ln(now / before); null without prompts. */
  readonly psi: number | null;
  /** Null also where so few prompts would differ as much by chance. */
  readonly verdict: DriftVerdict | null;
  /** Share of prompts that the gate abstains from as unlike the training data; null where novelty is not known. */
  readonly novel: number | null;
  readonly meanNovelty: number | null;
  /** Largest change first. */
  readonly classes: readonly ClassShare[];
}

/** Compares prompts with the class counts of a reference, such as the training data. */
export function driftOf(before: ReadonlyMap<string, number>, now: readonly SeenPrompt[]): Drift {
  const counts = countClasses(now);
  const names = [...new Set([...before.keys(), ...counts.keys()])].sort();
  const share = (of: ReadonlyMap<string, number>, name: string, prior: number) => {
    const all = [...of.values()].reduce((sum, count) => sum + count, 0);
    return ((of.get(name) ?? 0) + prior) / Math.max(1e-12, all + prior * names.length);
  };
  const psi = names.reduce((sum, name) => {
    const [was, is] = [share(before, name, PRIOR_COUNT), share(counts, name, PRIOR_COUNT)];
    return sum + (is - was) * Math.log(is / was);
  }, 0);
  const novelties = now.flatMap(({ novelty }) => (novelty === undefined ? [] : [novelty]));
  const isKnown = now.length > 0 && before.size > 0;
  const reference = [...before.values()].reduce((sum, count) => sum + count, 0);
  // What the index is on average between two samples of one population.
  const chance = (names.length - 1) * (1 / now.length + 1 / reference);
  return {
    prompts: now.length,
    psi: isKnown ? psi : null,
    verdict: isKnown && chance <= SOMEWHAT ? verdictOf(psi) : null,
    novel: meanOf(novelties.map((novelty) => (novelty > MOST_NOVELTY ? 1 : 0))),
    meanNovelty: meanOf(novelties),
    classes: names
      .map((classId) => ({ classId, before: share(before, classId, 0), now: share(counts, classId, 0) }))
      .sort((a, b) => Math.abs(b.now - b.before) - Math.abs(a.now - a.before)),
  };
}

export function countClasses(prompts: readonly SeenPrompt[]): ReadonlyMap<string, number> {
  const counts = new Map<string, number>();
  for (const { classId } of prompts) counts.set(classId, (counts.get(classId) ?? 0) + 1);
  return counts;
}

function verdictOf(psi: number): DriftVerdict {
  return psi > DIFFERENT ? 'different' : psi > SOMEWHAT ? 'somewhat different' : 'same';
}

function meanOf(values: readonly number[]): number | null {
  return values.length === 0 ? null : values.reduce((sum, value) => sum + value, 0) / values.length;
}
