import { messageOf } from '@fleetgate/shared/errors';
import { type ClassId, classId, type ExpertId } from '@fleetgate/shared/ids';
import { type Observable, Subject } from 'rxjs';

import { abstaining, generalScores } from './abstention.js';
import {
  type AnswerConfidence,
  type ClassFacts,
  type ExpertScore,
  type Gate,
  type GateScore,
  OTHER_CLASS,
} from './gate.js';

/** `degraded`: every expert by what it does in general, or by its card, whatever the prompt. */
export type GateState = 'ready' | 'training' | 'degraded';

/** The one class of prompts while nothing is known of them. */
export const GENERAL_CLASS = classId('general');
const CHARS_PER_TOKEN = 4;

/**
 * A gate that scores every prompt alike: each expert of `known` by what it does in general; without one no expert, so that
 * with `withUnknownExperts` the experts' cards alone count.
 */
export function uniformGate(reason: string, known?: Gate): Gate {
  const experts = known === undefined ? new Map<ExpertId, ExpertScore>() : generalScores(known);
  return {
    experts: [...experts.keys()],
    classes: [GENERAL_CLASS],
    trainedOn: 0,
    score: (prompt) => ({
      classId: GENERAL_CLASS,
      promptTokens: tokensOf(prompt),
      experts,
      abstained: { reason },
    }),
    classQuality: (of, expert) => (of === GENERAL_CLASS ? experts.get(expert) : undefined),
  };
}

/** The gate in use: the same object for everyone who scores, while training swaps what is inside it. */
export class LiveGate implements Gate {
  #gate: Gate = uniformGate('no gate is trained yet');
  #isTraining = true;
  /** Why the uniform gate is in use. */
  #degraded: string | undefined;
  /** What the gate failed with on the newest prompt. */
  #fault: string | undefined;
  readonly #changes = new Subject<void>();
  readonly #onFault: (error: unknown) => void;

  /** `onFault` is told of what the gate throws; the prompt is scored all the same. */
  constructor(onFault: (error: unknown) => void = () => {}) {
    this.#onFault = onFault;
  }

  get state(): GateState {
    if (this.#isTraining) return 'training';
    return this.why === undefined ? 'ready' : 'degraded';
  }

  /** Why prompts are not scored as they should be; undefined while they are. */
  get why(): string | undefined {
    return this.#degraded ?? this.#fault;
  }

  /** Emits when state or reason may be another. */
  get changes$(): Observable<void> {
    return this.#changes;
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
    this.#isTraining = false;
    this.#degraded = undefined;
    this.#fault = undefined;
    this.#changes.next();
  }

  /** Training has begun; what was in use before goes on scoring. */
  startTraining(): void {
    this.#isTraining = true;
    this.#changes.next();
  }

  /** Training has failed; what was in use before goes on scoring: without a gate, degraded for `reason`. */
  abandonTraining(reason: string): void {
    this.#isTraining = false;
    if (this.#gate.trainedOn === 0) this.degrade(this.#degraded ?? reason);
    else this.#changes.next();
  }

  /** No trained gate can be used, for `reason`; of `known` at most what experts do in general. */
  degrade(reason: string, known?: Gate): void {
    this.#isTraining = false;
    this.#degraded = reason;
    if (known !== undefined || this.#gate.experts.length === 0) {
      this.#gate = uniformGate(`the gate is degraded (${reason})`, known);
    }
    this.#changes.next();
  }

  /** Never throws: a prompt that the gate fails on is scored by what experts do in general, and `state` tells. */
  score(prompt: string): GateScore {
    try {
      const score = abstaining(this.#gate.score(prompt), this.#gate);
      if (this.#fault !== undefined) this.#setFault(undefined);
      return score;
    } catch (error) {
      this.#onFault(error);
      this.#setFault(`the gate failed on a prompt: ${messageOf(error)}`);
      return {
        classId: this.#gate.classes.includes(OTHER_CLASS) ? OTHER_CLASS : GENERAL_CLASS,
        promptTokens: tokensOf(prompt),
        experts: generalScores(this.#gate),
        abstained: { reason: `the gate failed on this prompt (${messageOf(error)})` },
      };
    }
  }

  classQuality(classId: ClassId, expert: ExpertId): ExpertScore | undefined {
    return this.#gate.classQuality(classId, expert);
  }

  describe(classId: ClassId): ClassFacts | undefined {
    return this.#gate.describe?.(classId);
  }

  confidence(expert: ExpertId): AnswerConfidence | undefined {
    return this.#gate.confidence?.(expert);
  }

  #setFault(fault: string | undefined): void {
    if (fault === this.#fault) return;
    this.#fault = fault;
    this.#changes.next();
  }
}

function tokensOf(prompt: string): number {
  return Math.max(1, Math.ceil(prompt.length / CHARS_PER_TOKEN));
}
