import type { CostView, GateClassView, GateExpertView, GateView, RequestView } from '@fleetgate/shared/api/operations';
import type { ClassId, ExpertId } from '@fleetgate/shared/ids';

import { driftOf } from '../gating/drift.js';
import type { ExpertScore, Gate } from '../gating/gate.js';
import type { LiveGate } from '../gating/live-gate.js';
import { specialisationOf } from '../gating/specialisation.js';

export interface GateFacts {
  /** The trained gate alone. */
  readonly live: Pick<LiveGate, 'state' | 'why' | 'trainedOn' | 'experts' | 'describe'>;
  /** The one that prompts are scored by: with new experts and what was learned. Undefined before the first. */
  readonly gate: Gate | undefined;
  /** The newest decision records. */
  readonly requests: readonly RequestView[];
  /** Of a typical request of the class; null for an expert that the plan serves nowhere. */
  readonly costOf: (expert: ExpertId, classId: ClassId, outputTokens: number) => CostView | null;
}

/** What the gate holds, what it would cost, and what came of it lately, for the operations API. Pure. */
export function gateView({ live, gate, requests, costOf }: GateFacts): GateView {
  const classes = gate?.classes ?? [];
  const experts = gate?.experts ?? [];
  const scoreOf = (classId: ClassId, expert: ExpertId) => gate?.classQuality(classId, expert);
  // What several experts were asked together for counts once, with the request.
  const own = requests.filter(({ callOf, classId }) => callOf === undefined && classId !== null);
  const trained = new Map(
    classes.flatMap((classId) => {
      const prompts = live.describe(classId)?.prompts;
      return prompts === undefined ? [] : [[classId, prompts] as const];
    }),
  );
  const drift = driftOf(
    trained,
    own.map(({ classId, novelty }) => ({ classId: classId ?? '', novelty })),
  );
  const shares = new Map(drift.classes.map((one) => [one.classId, one]));
  const general = bestInGeneral(classes, experts, scoreOf);
  return {
    state: live.state,
    why: live.why ?? null,
    trainedOn: live.trainedOn,
    experts: expertViews(live, classes, experts, scoreOf),
    classes: classes.map((classId): GateClassView => {
      const share = shares.get(classId);
      return {
        id: classId,
        label: gate?.describe?.(classId)?.label ?? classId,
        followed: gate?.describe?.(classId)?.followed ?? null,
        trainedShare: trained.size === 0 ? null : (share?.before ?? 0),
        liveShare: own.length === 0 ? null : (share?.now ?? 0),
        experts: classExperts(classId, experts, scoreOf, general, own, costOf),
      };
    }),
    traffic: {
      requests: own.length,
      sinceMs: own.at(-1)?.receivedAtMs ?? null,
      psi: drift.psi,
      verdict: drift.verdict,
      novel: drift.novel,
      meanNovelty: drift.meanNovelty,
      abstained: own.filter(({ abstained }) => abstained !== undefined).length,
    },
  };
}

type ScoreOf = (classId: ClassId, expert: ExpertId) => ExpertScore | undefined;

/** The expert of the highest mean quality over all classes. */
function bestInGeneral(
  classes: readonly ClassId[],
  experts: readonly ExpertId[],
  scoreOf: ScoreOf,
): ExpertId | undefined {
  const total = (expert: ExpertId) =>
    classes.reduce((sum, classId) => sum + (scoreOf(classId, expert)?.quality ?? 0), 0);
  return experts.reduce<ExpertId | undefined>(
    (best, expert) => (best === undefined || total(expert) > total(best) ? expert : best),
    undefined,
  );
}

function expertViews(
  live: GateFacts['live'],
  classes: readonly ClassId[],
  experts: readonly ExpertId[],
  scoreOf: ScoreOf,
): GateExpertView[] {
  // The class of what belongs nowhere is no domain.
  const domains = classes.filter((classId) => live.describe(classId) !== undefined);
  const special = specialisationOf({
    classes: domains,
    experts,
    quality: domains.map((classId) => experts.map((expert) => scoreOf(classId, expert)?.quality)),
  });
  return experts.map((id) => {
    const own = special.find(({ expert }) => expert === id);
    return {
      id,
      isTrained: live.experts.includes(id),
      home: own?.home ?? null,
      dsi: own?.dsi ?? null,
      gg: own?.gg ?? null,
      cdtr: own?.cdtr ?? null,
    };
  });
}

function classExperts(
  classId: ClassId,
  experts: readonly ExpertId[],
  scoreOf: ScoreOf,
  general: ExpertId | undefined,
  requests: readonly RequestView[],
  costOf: GateFacts['costOf'],
): GateClassView['experts'] {
  const usual = (general === undefined ? undefined : scoreOf(classId, general))?.quality ?? 0;
  const chosen = new Map<string, number>();
  for (const { expertId, classId: of, state } of requests) {
    if (of === classId && expertId !== null && state === 'succeeded')
      chosen.set(expertId, (chosen.get(expertId) ?? 0) + 1);
  }
  return experts
    .flatMap((id) => {
      const score = scoreOf(classId, id);
      if (score === undefined) return [];
      const cost = costOf(id, classId, score.outputTokens);
      return [
        {
          id,
          quality: score.quality,
          sd: score.sd,
          gain: score.quality - usual,
          energyJ: cost?.energyJ ?? null,
          latencyMs: cost?.latencyMs ?? null,
          chosen: chosen.get(id) ?? 0,
        },
      ];
    })
    .sort((a, b) => b.quality - a.quality);
}
