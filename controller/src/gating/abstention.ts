/** Prompts of which the gate knows too little: what experts are in general counts for them, and the score says why. Pure. */
import type { ExpertId } from '@fleetgate/shared/ids';

import { type ExpertScore, type Gate, type GateScore, OTHER_CLASS } from './gate.js';

/** A prompt of more novelty (0..1) than this is none of the classes, and no prediction of it is trusted. */
export const MOST_NOVELTY = 0.5;

/** `score` unless its prompt is unlike the training data: then every expert scores what it does in general. */
export function abstaining(score: GateScore, gate: Gate): GateScore {
  const { novelty = 0 } = score;
  if (novelty <= MOST_NOVELTY) return score;
  const reason = `prompt is unlike the training data (novelty ${novelty.toFixed(2)})`;
  return { ...score, classId: OTHER_CLASS, experts: generalScores(gate), abstained: { reason } };
}

/** What each expert does in general: its mean over all outcomes, with its whole spread as error bar. */
export function generalScores(gate: Gate): ReadonlyMap<ExpertId, ExpertScore> {
  return new Map(
    gate.experts.flatMap((expert): [ExpertId, ExpertScore][] => {
      const score = gate.classQuality(OTHER_CLASS, expert);
      return score === undefined ? [] : [[expert, score]];
    }),
  );
}
