import type { ExpertId, RequestId } from '@fleetgate/shared/ids';

import type { EvidenceSource } from './evidence.js';
import type { GateScore } from './gate.js';

/** A request that ended with an answer. */
export interface Answered {
  readonly requestId: RequestId;
  readonly expert: ExpertId;
  /** What the gate said of the prompt when it came. */
  readonly score: GateScore;
  /** Mean natural logarithm of the probability that the expert gave its own tokens; undefined where its engine does not say. */
  readonly meanLogProb?: number | undefined;
}

/** Something seen of one expert's work on one prompt. */
export interface Observation {
  readonly source: EvidenceSource;
  /** The request, or the labelled prompt: seen again, it replaces what was seen before. */
  readonly subject: string;
  readonly expert: ExpertId;
  readonly score: GateScore;
  /** 0..1 on the source's scale: 2^-(bits per byte), a rating, the share of others that agree, a mean token probability. */
  readonly value: number;
}

/** Where dispatch leaves what can be learned from. Never waits, never throws. */
export interface EvidenceSink {
  /** Remembers an answer for a rating to come, and learns from its own confidence. */
  answered(answer: Answered): void;
  observe(observation: Observation): void;
}
