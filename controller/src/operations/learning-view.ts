import type { LearnedExpertView, LearningView, TrialView } from '@fleetgate/shared/api/operations';
import type { UnixMs } from '@fleetgate/shared/units/quantity';

import { EXPLORATION_SHARE } from '../dispatch/explore.js';
import type { Steering } from '../dispatch/steering.js';
import { corrected, correctionOf } from '../gating/adaptation.js';
import { type Evidence, EVIDENCE_SOURCES, isHeldBack } from '../gating/evidence.js';
import type { ExpertTrials, TrialView as Trial } from '../gating/expert-trials.js';
import type { Gate } from '../gating/gate.js';
import type { GateLearning } from '../gating/gate-learning.js';
import { heldBackError } from '../gating/held-back.js';
import type { ExpertLearning } from '../gating/learning-cycle.js';
import type { LearningFigures } from '../platform/learning-metrics.js';

export interface LearningParts {
  readonly learning: Pick<GateLearning, 'adaptation' | 'counts' | 'evidence' | 'events'>;
  readonly steering: Pick<Steering, 'account' | 'balance'>;
  readonly trials: Pick<ExpertTrials, 'views'>;
  /** The gate without corrections. */
  readonly trainedGate: () => Gate | undefined;
}

/** What the gate has learned, as the operations API shows it. */
export function learningView({ learning, steering, trainedGate, trials }: LearningParts, now: UnixMs): LearningView {
  const trained = trainedGate();
  const { charged, earned, explored, requests } = steering.account;
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
    exploration: { requests, explored, spent: earned > 0 ? charged / earned : 0, most: EXPLORATION_SHARE },
    biases: [...steering.balance].flatMap(([classId, { biases }]) =>
      [...biases].flatMap(([expertId, bias]) => (bias === 0 ? [] : [{ classId, expertId, bias }])),
    ),
    trials: trials.views().map(trialView),
    events: events.map(({ at, expert, ...rest }) => ({ ...rest, atMs: at, expertId: expert })),
  };
}

/** The same for the metrics. */
export function learningFigures(view: LearningView): LearningFigures {
  const { biases, evidence, exploration, heldBack, trials, version } = view;
  const experts: Record<string, number> = { enrolling: 0, probation: 0, serving: 0 };
  for (const { state } of trials) experts[state] = (experts[state] ?? 0) + 1;
  return {
    version,
    evidence,
    errorWith: heldBack.errorWith ?? undefined,
    errorWithout: heldBack.errorWithout ?? undefined,
    explorationSpent: exploration.spent,
    explored: exploration.explored,
    largestBias: biases.reduce((most, { bias }) => Math.max(most, Math.abs(bias)), 0),
    experts,
  };
}

export function trialView({ expert, reason, ...rest }: Trial): TrialView {
  return { expertId: expert, ...rest, reason: reason ?? null };
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
