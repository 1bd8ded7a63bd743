import { FleetError } from '@fleetgate/shared/errors';
import { type RequestId, requestIdSchema } from '@fleetgate/shared/ids';
import { z } from 'zod';

/** Longest comment, characters. */
const MOST_COMMENT = 2000;

/** Body of POST /v1/feedback. Exactly one of `rating`, `score` and `correct`. A comment is accepted and not kept. */
export const feedbackSchema = z.object({
  request_id: z.string('expected the id of a request').min(1, 'expected the id of a request').max(120),
  rating: z.enum(['up', 'down'], 'expected up or down').optional(),
  score: z.number('expected 0 to 1').min(0, 'expected 0 to 1').max(1, 'expected 0 to 1').optional(),
  correct: z.boolean('expected true or false').optional(),
  comment: z.string('expected text').max(MOST_COMMENT, `expected at most ${MOST_COMMENT} characters`).optional(),
});

export interface Feedback {
  readonly requestId: RequestId;
  /** 0..1 */
  readonly value: number;
}

/** Reads a rating; throws `request.invalid` naming the field. The id may be that of the answer (`chatcmpl-...`, `cmpl-...`). */
export function parseFeedback(body: unknown): Feedback {
  const result = feedbackSchema.safeParse(body);
  if (!result.success) {
    const [issue] = result.error.issues;
    throw invalid(issue?.path.map(String).join('.') || null, issue?.message ?? 'not understood');
  }
  const { request_id: id, rating, score, correct } = result.data;
  const given = Object.entries({ rating, score, correct }).filter(([, value]) => value !== undefined);
  if (given.length === 0) throw invalid('rating', 'expected one of rating, score and correct');
  if (given.length > 1) throw invalid(given[1]?.[0] ?? null, 'expected only one of rating, score and correct');
  const requestId = requestIdSchema.safeParse(id.replace(/^(?:chatcmpl|cmpl)-/, 'req-'));
  if (!requestId.success) throw invalid('request_id', 'expected the id of a request, as x-request-id gives it');
  return { requestId: requestId.data, value: score ?? Number(rating === 'up' || correct === true) };
}

function invalid(param: string | null, what: string): FleetError {
  return new FleetError('request.invalid', `${param ?? 'the body'}: ${what}`, {
    hint: 'send {"request_id": "req-...", "rating": "up"} as JSON, or "score": 0..1, or "correct": true',
    context: { param },
  });
}
