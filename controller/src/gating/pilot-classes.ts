import type { ClassId, ExpertId } from '@fleetgate/shared/ids';

import { type Gate, OTHER_CLASS } from './gate.js';

/**
 * A card's words are few: only those that the gate finds quite familiar say what the expert is about. Of the six bundled
 * specialists, titles and domains place four in their class at this, and none in a wrong one; at 0.5 two would be.
 */
const MOST_NOVELTY = 0.3;

/** What a card says an expert is for. */
export interface PilotCard {
  readonly id: ExpertId;
  readonly title?: string;
  readonly domains: readonly string[];
}

/**
 * Classes that an expert is likely good at though its card does not name them: those that the gate puts its title and
 * domains into, as if they were prompts (pilot embeddings: RouterRetriever, CLM). Empty for a generalist, whose card names no domain.
 */
export function pilotClasses({ domains, title }: PilotCard, gate: Pick<Gate, 'score'>): ReadonlySet<ClassId> {
  if (domains.length === 0) return new Set();
  const texts = title === undefined ? domains : [title, ...domains];
  const classes = texts.flatMap((text) => {
    const { abstained, classId, novelty = 1 } = gate.score(text);
    return abstained === undefined && classId !== OTHER_CLASS && novelty <= MOST_NOVELTY ? [classId] : [];
  });
  return new Set(classes);
}

/** The same, worked out once for each expert and trained gate. */
export function pilots(gate: Gate): (card: PilotCard) => ReadonlySet<ClassId> {
  let classes = gate.classes;
  let known = new Map<ExpertId, ReadonlySet<ClassId>>();
  return (card) => {
    if (classes !== gate.classes) {
      classes = gate.classes;
      known = new Map();
    }
    let pilot = known.get(card.id);
    if (pilot === undefined) {
      pilot = pilotClasses(card, gate);
      known.set(card.id, pilot);
    }
    return pilot;
  };
}
