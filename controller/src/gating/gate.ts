import { type ClassId, classId, type ExpertId } from '@fleetgate/shared/ids';

/** Prompts that belong to none of the classes trained on: planning keeps an expert for them that is good in general. */
export const OTHER_CLASS: ClassId = classId('other');

/** What the mean log-probability of an expert's own answer says of its quality. */
export interface AnswerConfidence {
  /** Mean and standard deviation of the mean log-probability (natural logarithm per token) over its answers. */
  readonly mean: number;
  readonly sd: number;
  /** Quality (0..1) for one more unit of mean log-probability. */
  readonly slope: number;
}

export interface ExpertScore {
  /**
   * Predicted quality of this expert's answer, 0..1: the geometric mean of the probability it gives each byte of a
   * reference answer, 2^-(bits per byte). Predicted per expert, not a softmax over experts, so that leaving experts out
   * never changes the others' scores (MoE^2's optimality-preserving mask).
   */
  readonly quality: number;
  readonly sd: number;
  /** Expected length of its answer, tokens. */
  readonly outputTokens: number;
  /**
   * How far (one standard deviation) its mean quality on such prompts may be off, because little is known of the expert:
   * what more evidence would settle. Absent for an expert that the gate was trained on.
   */
  readonly doubt?: number;
  /** What the gate said before anything was learned from use; absent where nothing was. */
  readonly unlearned?: { readonly quality: number; readonly sd: number; readonly doubt?: number };
}

export interface GateScore {
  /** The prompt class planning counts this prompt under. */
  readonly classId: ClassId;
  readonly promptTokens: number;
  readonly experts: ReadonlyMap<ExpertId, ExpertScore>;
  /** Where the prompt lies: a unit vector of a few dimensions; absent while the gate makes none. */
  readonly embedding?: ArrayLike<number>;
  /** 0 for a prompt like those trained on, up to 1 for one that shares nothing with them; absent without training. */
  readonly novelty?: number;
  /** Probability of the prompt's likeliest class; absent while the gate knows none. */
  readonly certainty?: number;
  /** Why the experts' scores are not about this prompt but what they are in general; absent where they are. */
  readonly abstained?: { readonly reason: string };
}

/** Scores every expert it was trained on for one prompt. Pure, synchronous; well under a millisecond. */
export interface Gate {
  readonly experts: readonly ExpertId[];
  readonly classes: readonly ClassId[];
  /** Number of outcomes it was trained on. */
  readonly trainedOn: number;
  score(prompt: string): GateScore;
  /** Mean predicted quality of an expert on a class, from the training outcomes; undefined for an expert it does not know. */
  classQuality(classId: ClassId, expert: ExpertId): ExpertScore | undefined;
  /** What is known of one of its classes beside that. */
  describe?(classId: ClassId): ClassFacts | undefined;
  /** What an expert's sureness of its answer says of the answer; undefined where validation has not shown it. */
  confidence?(expert: ExpertId): AnswerConfidence | undefined;
}

export interface ClassFacts {
  /** For a person. */
  readonly label: string;
  /** Prompts of the class that it was trained on. */
  readonly prompts: number;
  /** Middle of their embeddings, a unit vector; absent while the gate makes none. */
  readonly centroid?: ArrayLike<number>;
  /** What traffic has shown of it; absent while classes are not followed. */
  readonly followed?: {
    /** Learned from outcomes, or found in the traffic since `sinceMs`. */
    readonly origin: 'trained' | 'found';
    readonly sinceMs: number;
    /** Prompts of the traffic. */
    readonly seen: number;
    /** How far its centre has moved, degrees. */
    readonly movedDeg: number;
  };
}
