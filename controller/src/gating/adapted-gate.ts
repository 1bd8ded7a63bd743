import type { ClassId, ExpertId } from '@fleetgate/shared/ids';

import { corrected, correctionOf, type ExpertFit } from './adaptation.js';
import type { ClassFacts, ExpertScore, Gate, GateScore } from './gate.js';
import { projectedPlace } from './place-projection.js';

/** Corrections in use, by expert. They belong to one trained gate: another one's predictions are left alone. */
export interface Corrections {
  readonly gate: string;
  readonly fits: ReadonlyMap<ExpertId, ExpertFit>;
  /** Grows when some class's quality has moved enough to plan anew. */
  readonly revision: number;
}

/**
 * A gate with what was learned from use on top. Each expert has a correction of its own, so leaving experts out never
 * changes another's score. `fingerprint` tells which trained gate is scoring now.
 */
export function withCorrections(gate: Gate, fingerprint: () => string, corrections: () => Corrections): Gate {
  const inUse = (): ReadonlyMap<ExpertId, ExpertFit> | undefined => {
    const { gate: fittedTo, fits } = corrections();
    return fits.size > 0 && fittedTo === fingerprint() ? fits : undefined;
  };
  return {
    get experts() {
      return gate.experts;
    },
    get classes() {
      return gate.classes;
    },
    get trainedOn() {
      // Planning tells by this figure that the gate is another one.
      return gate.trainedOn + corrections().revision;
    },
    score: (prompt): GateScore => {
      const score = gate.score(prompt);
      const fits = inUse();
      if (fits === undefined) return score;
      const experts = new Map(score.experts);
      const place = projectedPlace(score.embedding);
      for (const [expert, fit] of fits) {
        const own = experts.get(expert);
        if (own !== undefined) experts.set(expert, corrected(own, correctionOf(fit, score.classId, place)));
      }
      return { ...score, experts };
    },
    describe: (classId: ClassId): ClassFacts | undefined => gate.describe?.(classId),
    classQuality: (classId: ClassId, expert: ExpertId): ExpertScore | undefined => {
      const own = gate.classQuality(classId, expert);
      const fit = inUse()?.get(expert);
      return own === undefined || fit === undefined ? own : corrected(own, correctionOf(fit, classId, undefined));
    },
  };
}
