import { type ClassId, classId, type ExpertId } from '@fleetgate/shared/ids';

import { FeatureExtractor } from './features.js';
import type { ExpertScore, Gate, GateScore } from './gate.js';

export type GateState = 'ready' | 'training' | 'untrained';

/** The one class of prompts while nothing is known of them. */
export const GENERAL_CLASS = classId('general');

/** A gate that knows no expert and no class; with `withUnknownExperts` it goes by the experts' cards alone. */
export function untrainedGate(): Gate {
  const extractor = new FeatureExtractor();
  return {
    experts: [],
    classes: [GENERAL_CLASS],
    trainedOn: 0,
    score: (prompt) => ({
      classId: GENERAL_CLASS,
      promptTokens: extractor.extract(prompt).promptTokens,
      experts: new Map(),
    }),
    classQuality: () => undefined,
  };
}

/** The gate in use: the same object for everyone who scores, while training swaps what is inside it. */
export class LiveGate implements Gate {
  #gate: Gate = untrainedGate();
  #state: GateState = 'untrained';

  get state(): GateState {
    return this.#state;
  }

  get experts(): readonly ExpertId[] {
    return this.#gate.experts;
  }

  get classes(): readonly ClassId[] {
    return this.#gate.classes;
  }

  get trainedOn(): number {
    return this.#gate.trainedOn;
  }

  /** The next prompt is scored by `gate`. */
  replace(gate: Gate): void {
    this.#gate = gate;
    this.#state = 'ready';
  }

  /** Training has begun; what was in use before goes on scoring. */
  startTraining(): void {
    this.#state = 'training';
  }

  /** Training has failed; what was in use before goes on scoring. */
  abandonTraining(): void {
    this.#state = this.#gate.trainedOn > 0 ? 'ready' : 'untrained';
  }

  score(prompt: string): GateScore {
    return this.#gate.score(prompt);
  }

  classQuality(classId: ClassId, expert: ExpertId): ExpertScore | undefined {
    return this.#gate.classQuality(classId, expert);
  }
}
