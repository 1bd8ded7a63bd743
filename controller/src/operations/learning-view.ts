import type { LearnedExpertView, LearningView } from '@fleetgate/shared/api/operations';

import { corrected, correctionOf } from '../gating/adaptation.js';
import { type Evidence, EVIDENCE_SOURCES, isHeldBack } from '../gating/evidence.js';
import type { Gate } from '../gating/gate.js';
import type { GateLearning } from '../gating/gate-learning.js';
import { heldBackError } from '../gating/held-back.js';
import type { ExpertLearning } from '../gating/learning-cycle.js';
import type { UnixMs } from '@fleetgate/shared/units/quantity';

type Learned = Pick<GateLearning, 'adaptation' | 'counts' | 'evidence' | 'events'>;

/** What the gate has learned, as the operations API shows it. `trained` is the gate without corrections. */
export function learningView(learning: Learned, trained: Gate | undefined, now: UnixMs): LearningView {
  const { adaptation, events } = learning;
  const { calibrations, experts, version } = adaptation;
  const own = learning.evidence.filter(({ gate }) => gate === adaptation.gate);
  const judges = own.filter(isHeldBack);
  const bench = { calibrations, now };
  const named = new Set([...Object.keys(experts), ...own.map(({ expert }) => expert)]);
  return {
    version,
    evidence: learning.counts(),
    sources: EVIDENCE_SOURCES.map((source) => ({ source, ...calibrations[source] })),
    heldBack: {
      observations: judges.length,
      errorWith: heldBackError(judges, ({ expert }) => experts[expert]?.fit, bench) ?? null,
      errorWithout: heldBackError(judges, () => undefined, bench) ?? null,
    },
    experts: [...named].sort().map((id) => expertView(id, own, experts[id], trained)),
    events: events.map(({ at, expert, ...rest }) => ({ ...rest, atMs: at, expertId: expert })),
  };
}

function expertView(
  id: string,
  evidence: readonly Evidence[],
  learned: ExpertLearning | undefined,
  trained: Gate | undefined,
): LearnedExpertView {
  const observations: Record<string, number> = {};
  for (const { expert, source } of evidence) {
    if (expert === id) observations[source] = (observations[source] ?? 0) + 1;
  }
  const fit = learned?.fit;
  const classes = (fit === undefined ? [] : (trained?.classes ?? [])).flatMap((classId) => {
    const score = fit === undefined ? undefined : trained?.classQuality(classId, fit.expert);
    if (fit === undefined || score === undefined) return [];
    const { quality } = corrected(score, correctionOf(fit, classId, undefined));
    return [{ classId, trained: score.quality, corrected: quality }];
  });
  return { expertId: id, observations, rejections: learned?.rejections ?? 0, classes };
}
