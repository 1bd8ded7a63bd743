import type { ClassId, ExpertId, RequestId } from '@fleetgate/shared/ids';
import type { UnixMs } from '@fleetgate/shared/units/quantity';
import { z } from 'zod';

import type { Evidence } from './evidence.js';

/** What is kept of an answered request, so that it can be rated later. No text. */
export const answerContextSchema = z.object({
  requestId: z.string().transform((value) => value as RequestId),
  at: z.number().transform((value) => value as UnixMs),
  expert: z.string().transform((value) => value as ExpertId),
  classId: z.string().transform((value) => value as ClassId),
  embedding: z.array(z.number()).max(256).optional(),
  predicted: z.number(),
  sd: z.number(),
  doubt: z.number().optional(),
  gate: z.string(),
});
export type AnswerContext = Readonly<z.infer<typeof answerContextSchema>>;

/** Documents of which there is one each. */
export type LearningState = 'adaptation' | 'exploration' | 'trials';

export interface LearningChanges {
  readonly evidence: readonly Evidence[];
  /** Ids of evidence to forget. */
  readonly dropped: readonly string[];
  readonly contexts: readonly AnswerContext[];
  readonly states: Readonly<Partial<Record<LearningState, unknown>>>;
}

/** Where what is learned outlives the process. Bounded: the oldest of each kind makes room. */
export interface LearningStore {
  /** In order of time. Rows that cannot be read are left out and counted. */
  loadEvidence(): Promise<{ readonly evidence: readonly Evidence[]; readonly unreadable: number }>;
  /** The document, undefined where there is none; what is no JSON comes as its text. */
  loadState(name: LearningState): Promise<unknown>;
  /** Keeps a document that cannot be used under another name, for a person to look at. */
  setAside(name: LearningState): Promise<void>;
  contextOf(requestId: RequestId): Promise<AnswerContext | undefined>;
  /** All or nothing. Evidence and contexts of a known id are replaced. */
  save(changes: LearningChanges): Promise<void>;
}
