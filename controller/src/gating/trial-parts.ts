import type { Clock } from '@fleetgate/shared/clock';
import type { ExpertId } from '@fleetgate/shared/ids';
import type { Logger } from '@fleetgate/shared/logger';

import type { EvidenceSink } from './evidence-sink.js';
import type { Gate } from './gate.js';
import type { LabelledPrompt } from './k-shot.js';
import type { Trial, TrialFacts } from './trial.js';

/** A score of a reference answer, as a device measured it. */
export interface ShotScore {
  /** Sum of -log2 p, and UTF-8 bytes of what was scored. */
  readonly bits: number;
  readonly bytes: number;
  /** Above idle. */
  readonly energyJ: number;
}

export interface ExpertTrialParts {
  readonly clock: Clock;
  readonly log: Logger;
  /** The gate that evidence corrects; undefined while there is none. */
  readonly gate: () => Gate | undefined;
  readonly fingerprint: () => string;
  /** Every expert of the catalogue. */
  readonly facts: () => readonly TrialFacts[];
  readonly prompts: () => Promise<readonly LabelledPrompt[]>;
  /** Why an expert cannot be scored now, for a person; undefined when it can: it is hosted, and its devices are idle. */
  readonly obstacle: (expert: ExpertId) => string | undefined;
  /** Whether trials are made here; absent: they are. */
  readonly leads?: () => boolean;
  /** Rejects when the device could not. */
  readonly score: (expert: ExpertId, shot: LabelledPrompt, signal: AbortSignal) => Promise<ShotScore>;
  readonly sink: EvidenceSink;
  /** Learns at once what a finished trial has shown. */
  readonly learn: () => void;
  readonly keep: (trials: Readonly<Record<string, Trial>>) => void;
}
