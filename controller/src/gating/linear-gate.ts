import { FleetError } from '@fleetgate/shared/errors';
import { type ClassId, type ExpertId, expertIdSchema } from '@fleetgate/shared/ids';

import { MOST_NOVELTY } from './abstention.js';
import {
  type AnswerConfidence,
  type ClassFacts,
  type ExpertScore,
  type Gate,
  type GateScore,
  OTHER_CLASS,
} from './gate.js';
import type { GateModel } from './gate-model.js';
import { LinearScorer } from './linear-scorer.js';

/** A prompt whose likeliest class is less likely than this, or that is too novel, counts as none of the classes. */
const LEAST_PROBABILITY = 0.5;

/** The gate of a model whose experts are fleet experts; throws `gate.invalid-model` for a name that is no expert id. */
export function gateOf(model: GateModel): Gate {
  return new LinearGate(model);
}

class LinearGate implements Gate {
  readonly experts: readonly ExpertId[];
  readonly classes: readonly ClassId[];
  readonly trainedOn: number;
  readonly #scorer: LinearScorer;
  readonly #classQuality = new Map<ClassId, ReadonlyMap<ExpertId, ExpertScore>>();

  constructor(model: GateModel) {
    this.#scorer = new LinearScorer(model);
    this.experts = model.experts.map((expert) => expertName(expert.name));
    this.classes = [...new Set([...model.classes.map((one) => one.id), OTHER_CLASS])];
    this.trainedOn = model.trainedOn;
    this.#classQuality.set(OTHER_CLASS, this.#inGeneral(model));
    for (const one of model.classes) {
      const scores = this.experts.map((expert, at): [ExpertId, ExpertScore] => {
        const known = one.experts[at];
        return [
          expert,
          { quality: known?.mean ?? 0, sd: known?.standardError ?? 1, outputTokens: known?.outputTokens ?? 1 },
        ];
      });
      this.#classQuality.set(one.id, new Map(scores));
    }
  }

  confidence(expert: ExpertId): AnswerConfidence | undefined {
    return this.#scorer.model.experts[this.experts.indexOf(expert)]?.confidence;
  }

  score(prompt: string): GateScore {
    const score = this.#scorer.score(prompt);
    const experts = new Map<ExpertId, ExpertScore>();
    this.experts.forEach((expert, at) => {
      experts.set(expert, {
        quality: score.quality[at] ?? 0,
        sd: score.sd[at] ?? 1,
        outputTokens: score.outputTokens[at] ?? 1,
      });
    });
    const certainty = score.classProbabilities[score.classIndex] ?? 0;
    const isClear = score.novelty <= MOST_NOVELTY && certainty >= LEAST_PROBABILITY;
    const trained = isClear ? this.#scorer.model.classes[score.classIndex] : undefined;
    return {
      classId: trained?.id ?? OTHER_CLASS,
      promptTokens: score.promptTokens,
      experts,
      embedding: score.embedding,
      novelty: score.novelty,
      certainty,
    };
  }

  describe(classId: ClassId): ClassFacts | undefined {
    const { classes, centroids, rank } = this.#scorer.model;
    const at = classes.findIndex(({ id }) => id === classId);
    const own = classes[at];
    if (own === undefined) return undefined;
    return { label: own.label, prompts: own.prompts, centroid: centroids.subarray(at * rank, (at + 1) * rank) };
  }

  /** What scores are for a prompt of full novelty. */
  #inGeneral({ experts, classes }: GateModel): ReadonlyMap<ExpertId, ExpertScore> {
    const scores = this.experts.map((expert, at): [ExpertId, ExpertScore] => {
      const tokens = classes.reduce((sum, one) => sum + (one.experts[at]?.outputTokens ?? 0), 0) / classes.length;
      const { mean, spread } = experts[at] ?? { mean: 0, spread: 1 };
      return [expert, { quality: mean, sd: spread, outputTokens: Math.max(1, tokens) }];
    });
    return new Map(scores);
  }

  classQuality(classId: ClassId, expert: ExpertId): ExpertScore | undefined {
    return this.#classQuality.get(classId)?.get(expert);
  }
}

function expertName(name: string): ExpertId {
  const parsed = expertIdSchema.safeParse(name);
  if (parsed.success) return parsed.data;
  throw new FleetError(
    'gate.invalid-model',
    `gate model: expert ${JSON.stringify(name)} is not a fleet expert's name`,
    {
      hint: 'train the gate on outcomes of the fleet: fleetgate outcomes',
    },
  );
}
