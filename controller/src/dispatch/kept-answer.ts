import type { RequestView } from '@fleetgate/shared/api/operations';
import { requestId } from '@fleetgate/shared/ids';

import type { DispatchedRequest } from './dispatcher.js';
import type { RequestEvent } from './request-events.js';

/** Longer answers are not kept for others: who asks again elsewhere is answered anew. Characters. */
const MOST_CHARACTERS = 2 ** 20;

/** An answer as another controller can give it: its record, and its events, none of which is a failure. */
export interface KeptAnswer {
  readonly record: RequestView;
  readonly events: readonly RequestEvent[];
}

/** Undefined where it is too long. */
export function encodeAnswer(answer: KeptAnswer): string | undefined {
  const text = JSON.stringify(answer);
  return text.length > MOST_CHARACTERS ? undefined : text;
}

/** Of what `encodeAnswer` has written. */
export function decodeAnswer(text: string): KeptAnswer {
  return JSON.parse(text) as KeptAnswer;
}

/** A request that is over. */
export function givenRequest({
  record,
}: Pick<KeptAnswer, 'record'>): Pick<DispatchedRequest, 'id' | 'record' | 'proceed'> {
  return { id: requestId(record.id), record: () => record, proceed: () => {} };
}
