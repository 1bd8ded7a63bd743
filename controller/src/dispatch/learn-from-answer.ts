import type { JobOut, JobUsage } from '@fleetgate/shared/protocol/job';
import { elapsed, type UnixMs, unixMs } from '@fleetgate/shared/units/quantity';

import type { DispatcherParts } from './dispatcher-parts.js';
import type { Request } from './request.js';
import type { Choice } from './request-events.js';

/** One answer of so many is asked how sure the expert was of it: a third more energy for it, 2 % for all. */
const SURENESS_EVERY = 16;

type Teachers = Pick<DispatcherParts, 'costs' | 'gate' | 'workloads' | 'evidence'>;

/** Telling how sure it was takes an engine a second look at its answer: some answers are enough to learn from. */
export function asksHowSure({ evidence }: Teachers, { target, prompt }: Request, accepted: number): boolean {
  // Within a grammar a model says what it would not have said.
  if (prompt.grammar !== undefined) return false;
  return evidence !== undefined && target?.kind === 'any' && accepted % SURENESS_EVERY === 0;
}

/** What a finished answer teaches of costs, of lengths, and of the expert. */
export function learnFromAnswer(
  teachers: Teachers,
  request: Request,
  choice: Choice,
  { usage, meanLogProb }: JobOut & { readonly kind: 'done' },
  now: UnixMs,
): void {
  // A mixed answer waits for others: it would teach nothing about answers.
  if (request.prompt.input.kind === 'mix') return;
  // Nor does one that was begun elsewhere: it is neither a prompt nor a whole answer.
  if (usage.resumedTokens !== undefined) return;
  const sentAt = request.record.attempts.findLast(({ deviceId }) => deviceId === choice.deviceId)?.startedAtMs;
  const latency = sentAt === undefined ? undefined : elapsed(unixMs(sentAt), now);
  teachers.costs.observeJob(choice.deviceId, choice.variantId, usage, latency);
  learnLength(teachers, request, choice, usage);
  const { id: requestId, score } = request;
  if (score !== undefined) teachers.evidence?.answered({ requestId, expert: choice.expertId, score, meanLogProb });
}

function learnLength(
  { gate, workloads }: Teachers,
  { score, prompt }: Request,
  { expertId }: Choice,
  usage: JobUsage,
): void {
  const expected = score?.experts.get(expertId)?.outputTokens;
  const ofClass = score && gate()?.classQuality(score.classId, expertId)?.outputTokens;
  if (score === undefined || expected === undefined || ofClass === undefined) return;
  const expectedTokens = Math.min(prompt.sampling.maxTokens, expected);
  workloads.observe(score.classId, { ...usage, expectedTokens, classTokens: ofClass });
}
