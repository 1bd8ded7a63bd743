import type { ClassId } from '@fleetgate/shared/ids';

import { isHeldBack } from './evidence.js';

/** A prompt with its reference answer. */
export interface LabelledPrompt {
  readonly id: string;
  readonly prompt: string;
  readonly completion: string;
}

/** Where a labelled prompt lies. */
export interface Placed {
  readonly id: string;
  readonly classId: ClassId;
  readonly embedding?: ArrayLike<number> | undefined;
}

/** What a labelled prompt is called where it is evidence: of one subject for all experts that are scored on it. */
export const shotSubject = (id: string): string => `shot:${id}`;

/** One in so many shots judges rather than teaches, as with all evidence. */
const HELD_BACK_EVERY = 5;

/**
 * `count` prompts to enrol an expert with: the classes take turns, and each gives the prompt that is farthest from all
 * chosen so far (k-centre by farthest-first traversal, Gonzalez 1985), a fifth of them from those that evidence holds
 * back. Without embeddings the order of ids decides. The same pool gives the same shots. O(count * pool).
 */
export function chooseShots<T extends Placed>(pool: readonly T[], count: number): readonly T[] {
  const judges = Math.ceil(count / HELD_BACK_EVERY);
  const isJudge = ({ id }: T): boolean => isHeldBack({ subject: shotSubject(id) });
  const sorted = pool.toSorted((a, b) => (a.id < b.id ? -1 : 1));
  const teaching = new FarthestFirst(sorted.filter((one) => !isJudge(one)));
  const judging = new FarthestFirst(sorted.filter(isJudge));
  const chosen = teaching.take(count - judges, []);
  return [...chosen, ...judging.take(judges, chosen)];
}

class FarthestFirst<T extends Placed> {
  readonly #byClass = new Map<ClassId, { readonly one: T; distance: number }[]>();

  constructor(pool: readonly T[]) {
    for (const one of pool) {
      const own = this.#byClass.get(one.classId) ?? [];
      own.push({ one, distance: Infinity });
      this.#byClass.set(one.classId, own);
    }
  }

  take(count: number, already: readonly T[]): readonly T[] {
    for (const one of already) this.#near(one);
    const classes = [...this.#byClass.keys()].sort();
    const chosen: T[] = [];
    let empty = 0;
    for (let turn = 0; chosen.length < count && empty < classes.length; turn++) {
      const own = this.#byClass.get(classes[turn % classes.length] ?? ('' as ClassId)) ?? [];
      const farthest = own.reduce((best, each, at) => (each.distance > (own[best]?.distance ?? 0) ? at : best), 0);
      const [taken] = own.splice(farthest, 1);
      empty = taken === undefined ? empty + 1 : 0;
      if (taken === undefined) continue;
      chosen.push(taken.one);
      this.#near(taken.one);
    }
    return chosen;
  }

  /** Notes that a prompt was chosen: its neighbours are less worth choosing. */
  #near(chosen: Placed): void {
    for (const own of this.#byClass.values()) {
      for (const each of own) each.distance = Math.min(each.distance, distance(each.one, chosen));
    }
  }
}

/** Squared distance of two places; all the same where there are none. */
function distance({ embedding: a }: Placed, { embedding: b }: Placed): number {
  if (a === undefined || b === undefined) return 1;
  let sum = 0;
  for (let at = 0; at < a.length; at++) sum += ((a[at] ?? 0) - (b[at] ?? 0)) ** 2;
  return sum;
}
