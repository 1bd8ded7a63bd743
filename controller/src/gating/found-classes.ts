import type { ClassId, ExpertId } from '@fleetgate/shared/ids';

import type { ClassTracker } from './class-tracker.js';
import { doubted } from './found-quality.js';
import type { ClassFacts, ExpertScore, Gate, GateScore } from './gate.js';
import { displacementOf } from './tracked-class.js';

/** The trained gate's classes and the found ones, in one list. */
interface Joined {
  readonly own: readonly ClassId[];
  readonly found: readonly ClassId[];
  readonly all: readonly ClassId[];
}

/**
 * A trained gate with the classes that were found in the traffic: prompts of these count under them, and how good experts
 * are on them is in doubt until evidence says more. `tracker` follows this very gate's classes; undefined: none is followed.
 */
export function withFoundClasses(gate: Gate, tracker: () => ClassTracker | undefined): Gate {
  let joined: Joined | undefined;
  return {
    get experts() {
      return gate.experts;
    },
    get classes() {
      const { classes: own } = gate;
      const found = tracker()?.found ?? [];
      if (found.length === 0) return own;
      // The same list as long as they are the same: others tell by it that nothing has changed.
      if (joined?.own !== own || joined.found !== found) joined = { own, found, all: [...own, ...found] };
      return joined.all;
    },
    get trainedOn() {
      return gate.trainedOn;
    },
    score: (prompt): GateScore => {
      const score = gate.score(prompt);
      const following = tracker();
      const classId = following?.classOf(score) ?? score.classId;
      if (following === undefined || classId === score.classId) return score;
      const { doubt } = following.state;
      const experts = [...score.experts].map(([id, own]): [ExpertId, ExpertScore] => [id, doubted(own, doubt)]);
      return { ...score, classId, experts: new Map(experts) };
    },
    classQuality: (classId: ClassId, expert: ExpertId): ExpertScore | undefined =>
      gate.classQuality(classId, expert) ?? tracker()?.quality(classId, expert),
    describe: (classId) => factsOf(classId, gate.describe?.(classId), tracker()),
    confidence: (expert) => gate.confidence?.(expert),
  };
}

function factsOf(
  classId: ClassId,
  trained: ClassFacts | undefined,
  tracker: ClassTracker | undefined,
): ClassFacts | undefined {
  const one = tracker?.state.classes.find(({ id }) => id === classId);
  if (one === undefined) return trained;
  const { label, origin, since, seen } = one;
  const followed = { origin, sinceMs: since, seen, movedDeg: displacementOf(one) };
  return { ...(trained ?? { label, prompts: 0 }), followed };
}
