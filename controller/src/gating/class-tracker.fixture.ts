import { type ClassId, classId, expertId, type ExpertId } from '@fleetgate/shared/ids';
import { SeededRandom } from '@fleetgate/shared/random';

import type { Gate } from './gate.js';
import { OTHER_CLASS } from './gate.js';
import type { Sighting } from './class-tracker.js';

export const DIMENSIONS = 32;
export const LEFT = expertId('left');
export const RIGHT = expertId('right');
export const EXPERTS: readonly ExpertId[] = [LEFT, RIGHT];

/** The unit vector along one of the dimensions. */
export function axis(at: number): Float64Array {
  const vector = new Float64Array(DIMENSIONS);
  vector[at] = 1;
  return vector;
}

/** A gate of as many classes, each along a dimension of its own; it scores nothing. */
export function axesGate(classes: number): Gate {
  const ids = Array.from({ length: classes }, (_, at) => classId(`class-${at}`));
  return {
    experts: EXPERTS,
    classes: [...ids, OTHER_CLASS],
    trainedOn: 100 * classes,
    score: () => ({ classId: OTHER_CLASS, promptTokens: 1, experts: new Map() }),
    classQuality: (id, expert) => {
      if (!ids.includes(id) || !EXPERTS.includes(expert)) return undefined;
      const quality = (ids.indexOf(id) + EXPERTS.indexOf(expert)) / (classes + 1);
      return { quality, sd: 0.1, outputTokens: 20 };
    },
    describe: (id) => (ids.includes(id) ? { label: id, prompts: 100, centroid: axis(ids.indexOf(id)) } : undefined),
  };
}

/** Prompts around a direction: what a gate says of each. */
export function around(
  direction: ArrayLike<number>,
  gateSays: { readonly classId: ClassId; readonly certainty: number; readonly novelty?: number },
  seed = 1,
): () => Sighting {
  const random = new SeededRandom(seed);
  return () => ({
    novelty: 0,
    ...gateSays,
    embedding: unitOf(Array.from(direction, (value) => value + 0.5 * (random.uniform() - 0.5))),
    experts: new Map(EXPERTS.map((expert, at) => [expert, { quality: 0.2 + 0.4 * at, sd: 0.1, outputTokens: 30 }])),
  });
}

function unitOf(vector: readonly number[]): number[] {
  const norm = Math.hypot(...vector);
  return vector.map((value) => value / norm);
}
